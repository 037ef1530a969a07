"""Layers of ONNX operators: where torch has one, where it has none, and biases that were added apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compress.backends.torch_operators.run_operator import run_operator
from compress.backends.torch_operators.values import Attributes
from compress.models.sources.onnx_layers import ConstantInputs, add_bias, make_layer, tie_weights

GENERATOR = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return GENERATOR.normal(size=shape).astype(np.float32)


IMAGE = normal(2, 4, 7, 7)
CASES = [
    ("Conv", IMAGE, [normal(6, 2, 3, 3), normal(6)], {"group": 2, "strides": [2, 1], "pads": [1, 1, 1, 1]}, nn.Conv2d),
    ("Conv", normal(2, 4, 9), [normal(3, 4, 3)], {"dilations": [2]}, nn.Conv1d),
    ("ConvTranspose", IMAGE, [normal(4, 3, 3, 3), normal(6)], {"group": 2, "strides": [2, 2], "output_padding": [1, 1]},
     nn.ConvTranspose2d),
    ("Gemm", normal(3, 8), [normal(5, 8), normal(5)], {"transB": 1}, nn.Linear),
    ("MatMul", IMAGE, [normal(7, 5)], {}, nn.Linear),
    ("BatchNormalization", IMAGE, [normal(4), normal(4), normal(4), np.abs(normal(4)) + 1], {"epsilon": 1e-3}, nn.BatchNorm2d),
    ("LayerNormalization", IMAGE, [normal(7), normal(7)], {}, nn.LayerNorm),
    ("InstanceNormalization", IMAGE, [normal(4), normal(4)], {}, nn.InstanceNorm2d),
    ("PRelu", IMAGE, [normal(4, 1, 1)], {}, nn.PReLU),
    ("HardSigmoid", IMAGE, [], {"alpha": 1 / 6}, nn.Hardsigmoid),
    ("Gelu", IMAGE, [], {"approximate": "tanh"}, nn.GELU),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "x", "weights", "attributes", "kind"), CASES)
def test_a_layer_computes_what_the_operator_computes(
    operator: str, x: np.ndarray, weights: list[np.ndarray], attributes: dict[str, object], kind: type[nn.Module]
) -> None:
    known = Attributes(attributes)
    node = ConstantInputs(operator, known, (None, *weights), (True, *(False for _ in weights)), x.ndim)
    layer = make_layer(node)
    assert type(layer) is kind
    (expected,) = run_operator(operator, known, [torch.from_numpy(each) for each in (x, *weights)])
    torch.testing.assert_close(layer.eval()(torch.from_numpy(x)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("operator", "weights", "attributes", "rank"),
    [
        ("Conv", [normal(6, 4, 3, 3)], {"auto_pad": "SAME_UPPER"}, 4),
        ("Conv", [normal(6, 4, 3, 3)], {"pads": [0, 1, 1, 1]}, 4),
        ("Gemm", [normal(8, 5)], {"alpha": 0.5}, 2),
        ("MatMul", [normal(2, 8, 5)], {}, 3),
        ("PRelu", [normal(7)], {}, 4),
        ("HardSigmoid", [], {}, 4),
        ("Tanh", [], {}, 4),
    ],
)
def test_what_torch_has_no_layer_for_stays_a_function(
    operator: str, weights: list[np.ndarray], attributes: dict[str, object], rank: int
) -> None:
    computed = (True, *(False for _ in weights))
    assert make_layer(ConstantInputs(operator, Attributes(attributes), (None, *weights), computed, rank)) is None


def test_a_table_is_an_embedding_unless_its_rows_are_constant() -> None:
    table = normal(20, 6)
    layer = make_layer(ConstantInputs("Gather", Attributes({}), (table, None), (False, True), 2))
    assert isinstance(layer, nn.Embedding)
    np.testing.assert_array_equal(layer(torch.tensor([[3, 1]])).detach(), table[[[3, 1]]])
    assert make_layer(ConstantInputs("Gather", Attributes({}), (table, np.array([1])), (False, False), 2)) is None


def test_a_bias_is_taken_where_it_is_one_for_each_channel() -> None:
    conv, linear = nn.Conv2d(3, 4, 1, bias=False), nn.Linear(3, 4, bias=False)
    assert not add_bias(conv, normal(4))
    assert add_bias(conv, normal(4, 1, 1))
    assert not add_bias(conv, normal(4, 1, 1))  # it has one now
    assert not add_bias(linear, normal(2, 4))
    assert add_bias(linear, normal(1, 4))
    assert not add_bias(nn.ReLU(), normal(4))


def test_layers_of_one_weight_share_it() -> None:
    first, second, other = (nn.Linear(3, 3) for _ in range(3))
    tie_weights([(first, "w"), (second, "w"), (other, "v")])
    assert first.weight is second.weight
    assert first.weight is not other.weight
