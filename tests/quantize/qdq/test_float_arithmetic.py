"""Operators beside float operators stay in float, those between int8 layers do not; the cut is the smallest there is."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx.numpy_helper import from_array

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.core.network_spec import NetworkSpec
from compress.core.signature import Signature, TensorSpec
from compress.quantize.analysis.sqnr import decibels
from compress.quantize.qdq.float_arithmetic import BOTH, CONVERSION, ROUNDING, float_arithmetic
from compress.quantize.qdq.placement import WEIGHTED, placement_for
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, plan_static_int8

RANDOM = np.random.default_rng(0)


def network(*lines: str, **arrays: np.ndarray) -> onnx.ModelProto:
    """A graph from `x` (N, 8) to `y`, each node named after its output."""
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 8] x) => (float[N, K] y) {' + "\n".join(lines) + "}"
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(from_array(array, name) for name, array in arrays.items())
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def weight(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


NORMALIZED = network(
    "h = MatMul (x, w0)", "square = Mul (h, h)", "mean = ReduceMean <axes = [1]> (h)",
    "mean_square = ReduceMean <axes = [1]> (square)", "square_mean = Mul (mean, mean)",
    "variance = Sub (mean_square, square_mean)", "safe = Add (variance, eps)", "deviation = Sqrt (safe)",
    "centred = Sub (h, mean)", "unit = Div (centred, deviation)",
    "scaled = Mul (unit, gamma)", "normal = Add (scaled, beta)",
    "y = MatMul (normal, w1)",
    w0=weight(8, 16), w1=weight(16, 4), gamma=weight(16), beta=weight(16), eps=np.array([1e-5], np.float32),
)  # fmt: skip
RESIDUAL = network(
    "a = MatMul (x, w0)", "b = Add (a, bias)", "c = Relu (b)", "d = MatMul (c, w1)", "e = Add (d, b)", "f = Relu (e)",
    "g1 = MatMul (f, w2)", "y = Tanh (g1)",
    w0=weight(8, 16), w1=weight(16, 16), w2=weight(16, 4), bias=weight(16),
)  # fmt: skip


def in_float(model: onnx.ModelProto, exclude: tuple[str, ...] = ()) -> tuple[str, ...]:
    indexed = graphs.to_ir(model)
    return float_arithmetic(indexed, placement_for(indexed, "onnxruntime"), exclude)


def test_the_arithmetic_of_a_normalization_stays_in_float() -> None:
    assert in_float(NORMALIZED) == ("square", "square_mean", "safe", "scaled", "normal")


def test_sums_between_integer_layers_stay_in_int8_though_an_output_is_float() -> None:
    assert in_float(RESIDUAL) == ()


def test_without_integer_layers_around_them_sums_stay_in_float() -> None:
    assert in_float(RESIDUAL, exclude=("a", "d", "g1")) == ("b", "c", "e", "f")


@pytest.mark.parametrize("model", [NORMALIZED, RESIDUAL], ids=["normalization", "residual"])
def test_no_other_division_converts_fewer_elements(model: onnx.ModelProto) -> None:
    indexed = graphs.to_ir(model)
    shaped = graphs.with_shapes(indexed)
    movable = [str(node.name) for node in indexed.graph if node.op_type in BOTH]

    def converted(in_float: frozenset[str]) -> int:
        total = 0
        for node in shaped.graph:
            users = [node, *node.outputs[0].consumers()]
            floats = {str(user.name) in in_float or user.op_type not in (*BOTH, *WEIGHTED) for user in users}
            sizes = [size or 1 for size in graphs.dims(node.outputs[0]) or ()]
            total += CONVERSION * int(np.prod(sizes)) if len(floats) > 1 else 0
            total += int(np.prod(sizes)) if node.op_type in ROUNDING and str(node.name) not in in_float else 0
        return total

    sets = [frozenset(names) for count in range(len(movable) + 1) for names in itertools.combinations(movable, count)]
    best = min(map(converted, sets))
    fewest = min(len(names) for names in sets if converted(names) == best)
    chosen = frozenset(in_float(model))
    assert (converted(chosen), len(chosen)) == (best, fewest)


def test_a_spelled_out_normalization_keeps_its_accuracy_in_int8() -> None:
    indexed = graphs.to_ir(NORMALIZED)
    batches = [{"x": (RANDOM.normal(size=(32, 8)) + 3).astype(np.float32)} for _ in range(4)]
    settings = CalibrationSettings(), PTQSettings()
    plan = plan_static_int8(indexed, batches, Int8Format(("onnxruntime",)), *settings)
    spec = NetworkSpec(signature=Signature(inputs=(TensorSpec(name="x", shape=("batch", 8)),)))
    (exact,), (rounded,) = (
        onnx_session.create_session(model).run(None, batches[0]) for model in (NORMALIZED, plan.build("onnxruntime", (), spec))
    )
    assert decibels(exact, rounded) > 30
