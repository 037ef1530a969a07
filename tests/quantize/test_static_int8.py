from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, StaticInt8Plan, plan_static_int8
from tests.export.tiny import SPEC, split


@pytest.fixture(scope="module")
def plan(exported: Path) -> StaticInt8Plan:
    return plan_static_int8(
        graphs.to_ir(onnx_files.load(exported)),
        [split(32, 0).inputs.numpy()],
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
