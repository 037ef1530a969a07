"""Correlated inputs and layers for tests of rounding in blocks."""

from __future__ import annotations

import numpy as np
import onnx

from compress.quantize.ptq.input_statistics import LayerInputs
from compress.quantize.weight_only.rounding_problem import BlockRounding


def correlated(rows: int, dims: int, seed: int = 0) -> np.ndarray:
    """Inputs (rows, dims) that depend on each other and differ in size."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((rows, dims)) @ rng.standard_normal((dims, dims)) / dims**0.5
    return (mixed * np.logspace(-1, 1, dims)[rng.permutation(dims)]).astype(np.float32)


def problem(dims: int = 96, outputs: int = 24, *, bits: int = 4, block: int = 32, symmetric: bool = False) -> BlockRounding:
    """A matrix with statistics of correlated inputs."""
    x = correlated(500, dims)
    mean = x.mean(0, dtype=np.float64)[None]
    w = np.random.default_rng(1).standard_normal((outputs, dims)).astype(np.float32)
    return BlockRounding(w, bits, block, symmetric, LayerInputs(x[None], x[None], mean, mean))


def gated() -> onnx.ModelProto:
    """An RMS norm, a gated feed-forward layer and its output: x (n, 32) → y (n, 16)."""
    proto = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["": 18]> agraph (float[n, 32] x) => (float[n, 16] y) {
            two = Constant<value_float = 2.0>()
            square = Pow(x, two)
            mean = ReduceMean<keepdims = 1>(square, axes)
            root = Sqrt(mean)
            normed = Div(x, root)
            scaled = Mul(normed, gamma)
            [gate] g = MatMul(scaled, w_gate)
            [up] u = MatMul(scaled, w_up)
            a = Sigmoid(g)
            h = Mul(a, u)
            [down] y = MatMul(h, w_down)
        }"""
    )
    rng = np.random.default_rng(2)
    arrays = {
        "axes": np.array([1]),
        "gamma": np.logspace(-1, 1, 32)[rng.permutation(32)].astype(np.float32),
        "w_gate": (rng.standard_normal((32, 48)) / 20).astype(np.float32),
        "w_up": (rng.standard_normal((32, 48)) * np.logspace(-1, 0.5, 48)).astype(np.float32),
        "w_down": rng.standard_normal((48, 16)).astype(np.float32),
    }
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    return proto
