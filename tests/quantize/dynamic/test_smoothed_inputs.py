"""SmoothQuant before `dynamic_int8`: channels of large activations no longer set the range of all others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from compress.backends.compare_on_split import compare_on_split
from compress.backends.export_onnx import export_onnx
from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.quantize.stage import Quantize
from tests.export.decoder_artifacts import TASK, language_model, text_data


def test_smoothed_activations_lose_less(tmp_path: Path) -> None:
    """One channel 100 times as large, and its weights as much smaller: the function is the same, and one range fits badly."""
    data = text_data()
    network = language_model(data)
    weights = dict(network.network().named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            if "layernorm" in name:
                weight[3] *= 100
            if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight", "gate_proj.weight", "up_proj.weight")):
                weight[:, 3] /= 100
    path = tmp_path / "float.onnx"
    export_onnx(network.network(), network.spec, path)
    noise = []
    for number, ptq in enumerate(({}, {"smooth": 0.65})):
        folder = tmp_path / str(number)
        folder.mkdir()
        context = Context(
            data=data, task=TASK.for_spec(network.spec), folder=folder, cache=tmp_path, device="cpu", to_onnx=lambda _: path
        )
        outcome = Quantize(scheme="dynamic_int8", ptq=ptq, accept_if=None).run(Candidate(network.spec, network.module), context)
        comparison = compare_on_split(path, outcome.candidate.files["onnxruntime"], data.validation, context.task)
        noise.append(float(np.sum(comparison.noise)))
        assert sum("SmoothQuant (α = 0.65)" in render(note) for note in outcome.notes) == len(ptq)
    assert noise[1] < 0.3 * noise[0]
