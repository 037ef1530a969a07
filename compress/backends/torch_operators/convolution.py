"""Convolutions and pools."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.backends.torch_operators.values import Attributes, Inputs, Operator
from compress.core.language import gettext

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}
MAX_POOLS: dict[int, Callable[..., Tensor]] = {3: F.max_pool1d, 4: F.max_pool2d, 5: F.max_pool3d}
AVERAGE_POOLS: dict[int, Callable[..., Tensor]] = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}


def _per_axis(attributes: Attributes, name: str, dims: int) -> tuple[int, ...]:
    return attributes.integers(name) or (1,) * dims


def paddings(attributes: Attributes, size: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
    """Padding of a convolution or pool: at the start of each axis, then at the end of each axis.

    Args:
        attributes: Attributes of the node. SAME padding yields ⌈size / stride⌉ outputs; SAME_UPPER puts an odd row at the end,
            SAME_LOWER at the start.
        size: Size of the input, without batch and channels.
        kernel: Size of the window.
    """
    dims, mode = len(kernel), attributes.text("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        pads = attributes.integers("pads") if mode == "NOTSET" else None
        return pads or (0,) * 2 * dims
    strides, dilations = (_per_axis(attributes, name, dims) for name in ("strides", "dilations"))
    total = [
        max((-(-length // stride) - 1) * stride + dilation * (window - 1) + 1 - length, 0)
        for length, stride, dilation, window in zip(size, strides, dilations, kernel, strict=True)
    ]
    less, more = tuple(count // 2 for count in total), tuple(count - count // 2 for count in total)
    return (*less, *more) if mode == "SAME_UPPER" else (*more, *less)


def pad_input(x: Tensor, attributes: Attributes, kernel: tuple[int, ...], value: float = 0.0) -> Tensor:
    """Pad the input (N, C, …) of a convolution or pool."""
    dims = len(kernel)
    pads = paddings(attributes, tuple(x.shape[2:]), kernel)
    around = [pads[axis + end * dims] for axis in reversed(range(dims)) for end in (0, 1)]
    return F.pad(x, around, value=value) if any(around) else x


def conv(attributes: Attributes, x: Inputs) -> Tensor:
    """Convolution over one to three axes."""
    weight = x.tensor(1)
    dims = weight.ndim - 2
    stride, dilation = (_per_axis(attributes, name, dims) for name in ("strides", "dilations"))
    padded = pad_input(x.tensor(0), attributes, tuple(weight.shape[2:]))
    group = attributes.integer("group", 1)
    return CONVOLUTIONS[weight.ndim](padded, weight, x.optional(2), stride, 0, dilation, group)


def conv_transpose(attributes: Attributes, x: Inputs) -> Tensor:
    """Transposed convolution over one to three axes.

    Raises:
        NotImplementedError: The node has `output_shape` or `auto_pad`.
    """
    weight = x.tensor(1)
    dims = weight.ndim - 2
    if "output_shape" in attributes or attributes.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        msg = gettext("output_shape or auto_pad")
        raise NotImplementedError(msg)
    pads = attributes.integers("pads") or (0,) * 2 * dims
    stride, dilation = (_per_axis(attributes, name, dims) for name in ("strides", "dilations"))
    added = attributes.integers("output_padding") or (0,) * dims
    group = attributes.integer("group", 1)
    even = pads[:dims] == pads[dims:]
    padding = pads[:dims] if even else (0,) * dims
    y = TRANSPOSED[weight.ndim](x.tensor(0), weight, x.optional(2), stride, padding, added, group, dilation)
    if not even:
        for axis in range(dims):
            y = y.narrow(axis + 2, pads[axis], y.shape[axis + 2] - pads[axis] - pads[axis + dims])
    return y


def max_pool(attributes: Attributes, x: Inputs) -> Tensor:
    """Largest value of each window."""
    size = attributes.integers("kernel_shape") or ()
    dims = len(size)
    stride, dilation = (_per_axis(attributes, name, dims) for name in ("strides", "dilations"))
    inside = pad_input(x.tensor(0), attributes, size, -torch.inf)
    return MAX_POOLS[dims + 2](inside, size, stride, 0, dilation, ceil_mode=bool(attributes.integer("ceil_mode", 0)))


def average_pool(attributes: Attributes, x: Inputs) -> Tensor:
    """Mean of each window; padding counts if `count_include_pad` is set.

    Raises:
        NotImplementedError: The node has dilations, or uneven padding together with `ceil_mode`.
    """
    size = attributes.integers("kernel_shape") or ()
    dims, values = len(size), x.tensor(0)
    stride = _per_axis(attributes, "strides", dims)
    if any(step != 1 for step in _per_axis(attributes, "dilations", dims)):
        msg = "dilations"
        raise NotImplementedError(msg)
    ceil_mode, padded = (bool(attributes.integer(name, 0)) for name in ("ceil_mode", "count_include_pad"))
    pads = paddings(attributes, tuple(values.shape[2:]), size)
    pool = AVERAGE_POOLS[dims + 2]
    if pads[:dims] == pads[dims:] and all(2 * pad <= window for pad, window in zip(pads, size, strict=False)):
        return pool(values, size, stride, pads[:dims], ceil_mode=ceil_mode, count_include_pad=padded)
    if ceil_mode:
        msg = gettext("uneven padding and ceil_mode")
        raise NotImplementedError(msg)
    means = pool(pad_input(values, attributes, size), size, stride)
    if padded:
        return means
    inside = pool(pad_input(torch.ones_like(values[:1, :1]), attributes, size), size, stride)
    return means / inside.clamp_min(0.5 / prod(size))


def _over_image(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


CONVOLUTION_OPERATORS: dict[str, Operator] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": lambda _, x: x.tensor(0).mean(_over_image(x.tensor(0)), keepdim=True),
    "GlobalMaxPool": lambda _, x: x.tensor(0).amax(_over_image(x.tensor(0)), keepdim=True),
}
