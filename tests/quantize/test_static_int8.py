from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.backends.feeds import group_samples
from compress.backends.onnx_session import create_session
from compress.core.network_spec import NetworkSpec
from compress.core.signature import Signature, TensorSpec
from compress.quantize.analysis.sqnr import decibels, layer_sqnr
from compress.quantize.calibration.tune_ranges import tune_ranges
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, StaticInt8Plan, plan_static_int8
from tests.export.tiny import SPEC, split


@pytest.fixture(scope="module")
def plan(exported: Path) -> StaticInt8Plan:
    return plan_static_int8(
        graphs.to_ir(onnx_files.load(exported)),
        [{"input": split(32, 0).inputs.numpy()}],
        Int8Format(("onnxruntime", "tensorrt"), seven_bit_weights=True),
        CalibrationSettings(method="minmax"),
        PTQSettings(),
    )


def largest_integer(model: onnx.ModelProto) -> int:
    tensors = [
        tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
    ]
    return max(int(np.abs(onnx.numpy_helper.to_array(tensor).astype(int)).max()) for tensor in tensors)


def test_seven_bits_are_for_this_cpu(plan: StaticInt8Plan) -> None:
    assert largest_integer(plan.build("onnxruntime", (), SPEC)) <= 64


def test_every_runtime_has_ranges_around_what_calibration_saw(plan: StaticInt8Plan) -> None:
    assert set(plan.ranges) == {"onnxruntime", "tensorrt"}
    x = split(32, 0).inputs.numpy()
    low, high = plan.ranges["onnxruntime"]["input"]
    assert (low, high) == (float(x.min()), float(x.max()))


def test_the_network_to_train_keeps_the_names_of_tensors(plan: StaticInt8Plan) -> None:
    names = {name for node in plan.with_qdq("onnxruntime", ()).graph for name in graphs.output_names(node)}
    assert {graphs.output_names(node)[0] for node in plan.model.graph if node.op_type == "Conv"} & names


def test_an_excluded_layer_keeps_its_float_weight(plan: StaticInt8Plan) -> None:
    built = plan.build("tensorrt", ("wide",), SPEC)
    (wide,) = (node for node in built.graph.node if node.name == "wide")
    kinds = {tensor.name: tensor.data_type for tensor in built.graph.initializer}
    assert kinds.get(wide.input[1]) == onnx.TensorProto.FLOAT


class ImageAndWords(nn.Module):
    """An image, numbers of words and three measurements; gives scores and an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.words = nn.Conv2d(1, 8, 3), nn.Embedding(20, 8)
        self.joined, self.hidden = nn.Linear(8 + 8 + 3, 16), nn.Linear(16, 16)
        self.scores, self.embedding = nn.Linear(16, 4), nn.Linear(16, 6)

    def forward(self, image: Tensor, words: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.relu(self.conv(image)).mean((2, 3))
        x = torch.relu(self.joined(torch.cat([seen, self.words(words).mean(1), numbers], 1)))
        x = torch.relu(self.hidden(x))
        return self.scores(x), self.embedding(x)


SEVERAL = NetworkSpec(
    signature=Signature(
        inputs=(
            TensorSpec(name="image", shape=("batch", 1, 8, 8)),
            TensorSpec(name="words", dtype="int64", shape=("batch", 5), values=(0, 19)),
            TensorSpec(name="numbers", shape=("batch", 3)),
        ),
        outputs=(TensorSpec(name="scores", shape=("batch", 4)), TensorSpec(name="embedding", shape=("batch", 6))),
    )
)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("several") / "model.onnx"
    torch.manual_seed(0)
    export_onnx(ImageAndWords().eval(), SEVERAL, path)
    return path


@pytest.mark.parametrize(
    "ptq",
    [
        {},
        {"equalize": True, "smooth": 0.5, "bias_correction": "empirical"},
        {"weights": {"rounding": "gptq", "range": "mse"}},
        {"weights": {"rounding": "brecq", "iterations": 20}},
    ],
    ids=["default", "passes", "gptq", "brecq"],
)
def test_a_network_with_several_inputs_is_quantized_by_named_feeds(several: Path, ptq: dict[str, Any]) -> None:
    model = graphs.to_ir(onnx_files.load(several))
    inputs = {name: values.numpy() for name, values in SEVERAL.signature.example(32).items()}
    samples = [{name: values[index : index + 1] for name, values in inputs.items()} for index in range(32)]
    plan = plan_static_int8(
        model,
        group_samples(samples, 8),
        Int8Format(("onnxruntime",)),
        CalibrationSettings(),
        PTQSettings.model_validate(ptq),
    )
    assert {"image", "numbers"} <= set(plan.ranges["onnxruntime"])
    assert "words" not in plan.ranges["onnxruntime"]
    built = plan.build("onnxruntime", (), SEVERAL)
    exact, quantized = (create_session(network).run(None, inputs) for network in (onnx_files.load(several), built))
    assert min(map(decibels, exact, quantized)) > 20
    by_layer = layer_sqnr(plan.rescaled or model, graphs.to_ir(built), samples[:2])
    assert len(by_layer) == 5
    assert min(by_layer.values()) > 15
    assert largest_integer(built) == 127


def test_ranges_of_a_network_with_several_inputs_are_learned(several: Path) -> None:
    model = graphs.to_ir(onnx_files.load(several))
    inputs = {name: values.numpy() for name, values in SEVERAL.signature.example(48).items()}
    samples = [{name: values[index : index + 1] for name, values in inputs.items()} for index in range(48)]
    plan = plan_static_int8(
        model, group_samples(samples, 8), Int8Format(("onnxruntime",)), CalibrationSettings(), PTQSettings()
    )
    result = tune_ranges(plan, "onnxruntime", samples, epochs=4)
    assert not result.skipped
    assert result.before is not None
    assert result.after is not None
