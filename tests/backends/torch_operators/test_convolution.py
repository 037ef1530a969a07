"""Convolutions and pools against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.backends.torch_operators.convolution import paddings
from compress.backends.torch_operators.run_operator import run_operator
from compress.backends.torch_operators.values import Attributes
from tests.backends.torch_operators.single_node import IMAGE, check_operator, normal

SIGNAL, VOLUME = normal(2, 4, 9), normal(1, 2, 5, 6, 7)
KERNEL = normal(6, 2, 3, 3)
CASES = [
    ("Conv", [IMAGE, KERNEL], {"group": 2, "strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2]}),
    ("Conv", [IMAGE, KERNEL, normal(6)], {"group": 2, "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("Conv", [IMAGE, KERNEL], {"group": 2, "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ("Conv", [IMAGE, KERNEL], {"group": 2, "auto_pad": "VALID"}),
    ("Conv", [SIGNAL, normal(3, 4, 4)], {"strides": [3], "pads": [2, 1]}),
    ("Conv", [VOLUME, normal(3, 2, 2, 3, 3)], {"pads": [0, 1, 1, 0, 1, 1]}),
    ("ConvTranspose", [IMAGE, normal(4, 3, 3, 3), normal(6)], {"group": 2, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("ConvTranspose", [IMAGE, normal(4, 3, 2, 2)], {"strides": [2, 2], "output_padding": [1, 1], "pads": [0, 1, 1, 0]}),
    ("ConvTranspose", [SIGNAL, normal(4, 3, 4)], {"strides": [2], "pads": [1, 1]}),
    ("MaxPool", [IMAGE], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", [IMAGE], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", [IMAGE], {"kernel_shape": [3, 3], "dilations": [2, 2]}),
    ("MaxPool", [SIGNAL], {"kernel_shape": [3], "strides": [2], "auto_pad": "SAME_UPPER"}),
    ("MaxPool", [VOLUME], {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]}),
    ("AveragePool", [IMAGE], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", [IMAGE], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", [IMAGE], {"kernel_shape": [3, 3], "pads": [0, 1, 2, 1], "strides": [2, 1]}),
    ("AveragePool", [IMAGE], {"kernel_shape": [3, 3], "pads": [0, 1, 2, 1], "count_include_pad": 1}),
    ("AveragePool", [SIGNAL], {"kernel_shape": [3], "strides": [2], "ceil_mode": 1}),
    ("GlobalAveragePool", [IMAGE], {}),
    ("GlobalAveragePool", [SIGNAL], {}),
    ("GlobalMaxPool", [VOLUME], {}),
]


@pytest.mark.parametrize(("operator", "arrays", "attributes"), CASES)
def test_result_is_that_of_onnx_runtime(operator: str, arrays: list[np.ndarray], attributes: dict[str, object]) -> None:
    check_operator(operator, arrays, attributes, tolerance=5e-5)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding_gives_the_input_size_over_the_stride(stride: int) -> None:
    for size in range(5, 12):
        before, after = paddings(Attributes({"auto_pad": "SAME_UPPER", "strides": (stride,)}), (size,), (3,))
        assert (size + before + after - 3) // stride + 1 == -(-size // stride)
        assert 0 <= after - before <= 1


def test_a_given_output_shape_is_refused_by_its_name() -> None:
    with pytest.raises(NotImplementedError, match="output_shape"):
        run_operator(
            "ConvTranspose",
            Attributes({"output_shape": (9, 9)}),
            [torch.from_numpy(IMAGE), torch.from_numpy(normal(4, 3, 2, 2))],
        )
