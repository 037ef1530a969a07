from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.core.errors import ConversionError
from compress.quantize.qdq.placement import (
    PLACEMENTS,
    activations_to_calibrate,
    add_implied_ranges,
    match_keep_float,
    placement_for,
)


@pytest.fixture(scope="module")
def model(exported: Path) -> onnx.ModelProto:
    return onnx_files.load(exported)


def test_glob_that_matches_nothing_offers_names(model: onnx.ModelProto) -> None:
    with pytest.raises(ConversionError, match=r"'clasifier\*' matches no node.*stem\.0"):
        match_keep_float(graphs.to_ir(model), ("clasifier*",))


def test_only_onnxruntime_lacks_a_kernel_for_transposed_convolution(model: onnx.ModelProto) -> None:
    operators = {runtime: placement_for(graphs.to_ir(model), runtime).operators for runtime in PLACEMENTS}
    assert [runtime for runtime in PLACEMENTS if "ConvTranspose" not in operators[runtime]] == ["onnxruntime"]


def test_symmetric_activations_have_no_integer_hardswish(model: onnx.ModelProto) -> None:
    placement = placement_for(graphs.to_ir(model), "onnxruntime", symmetric=True)
    assert (placement.unsigned, placement.integer_hardswish) == (False, False)
    assert placement_for(graphs.to_ir(model), "onnxruntime").integer_hardswish


def test_what_a_relu_absorbs_takes_the_range_of_its_result() -> None:
    value = onnx.helper.make_tensor_value_info
    nodes = [
        onnx.helper.make_node("Neg", ["x"], ["a"]),
        onnx.helper.make_node("Relu", ["a"], ["b"]),
        onnx.helper.make_node("Sigmoid", ["b"], ["y"]),
    ]
    ends = [value(name, onnx.TensorProto.FLOAT, [1, 4]) for name in "xy"]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:]))
    assert "a" not in activations_to_calibrate(graphs.to_ir(model), ("onnxruntime",))
    assert add_implied_ranges(graphs.to_ir(model), {"b": (0.0, 3.0)}) == {"b": (0.0, 3.0), "a": (0.0, 3.0), "y": (0.0, 1.0)}
