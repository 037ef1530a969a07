"""Layers as matrices, and networks with other weights."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compress.quantize.ptq.weighted_layers import read_weight, weighted_layers
from tests.quantize.ptq.chain import NAMES


def test_layers_are_matrices_and_come_back(chain: ir.Model) -> None:
    layers = weighted_layers(chain)
    assert tuple(layer.name for layer in layers) == NAMES
    shapes = {
        "stem": (1, 8, 27),
        "depth": (8, 1, 9),
        "grouped": (2, 6, 36),
        "point": (1, 16, 12),
        "hidden": (1, 10, 16),
        "head": (1, 4, 10),
    }
    for layer in layers:
        weight = read_weight(chain, layer.weight)
        assert layer.to_matrix(weight).shape == shapes[layer.name]
        np.testing.assert_array_equal(layer.from_matrix(layer.to_matrix(weight), weight), weight)
