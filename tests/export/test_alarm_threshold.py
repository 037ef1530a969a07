import dataclasses
import json

import numpy as np
import onnxruntime
import torch
from torch import nn

from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import image_spec
from compress.data.interface import Data
from compress.export.alarm_threshold import THRESHOLD, write_threshold
from compress.tasks.inspection import Inspection
from tests.export.tiny import split

SPEC = image_spec(channels=3, height=16, width=16, mean=(0.0,) * 3, std=(1.0,) * 3, classes=("good", "a", "b", "c"))


def test_the_threshold_of_a_file_is_chosen_on_good_parts_of_validation(make_context, tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)).eval()
    export_onnx(network, SPEC, tmp_path / "model.onnx")
    validation = split(200, 5, SPEC)
    context = make_context(Data(SPEC, split(8, 0, SPEC), validation, split(8, 1, SPEC)))
    context = dataclasses.replace(context, task=Inspection(fpr=0.1).for_spec(SPEC))
    write_threshold(tmp_path, tmp_path / "model.onnx", tmp_path / "none.onnx", context)
    point = json.loads((tmp_path / THRESHOLD).read_text(encoding="utf-8"))
    assert (point["good"], point["false_alarm_rate"]) == ("good", 0.1)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    logits = session.run(None, {"input": validation.inputs.numpy()})[0].astype(np.float64)
    scores = np.log(np.exp(logits[:, 1:]).sum(1)) - logits[:, 0]
    good = np.sort(scores[validation.targets.numpy() == 0])
    assert point["good_parts"] == len(good)
    rank = int(np.ceil(0.9 * (len(good) + 1)))
    assert abs(point["threshold"] - good[rank - 1]) < 1e-5
