"""Operators of an ONNX graph with constant weights as torch's layers, which pruning and training know.

An operator that torch has no layer for, such as a convolution with SAME padding, stays a function whose weights are parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from compress.backends.torch_operators.values import Attributes

CONVOLUTIONS: dict[int, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
TRANSPOSED: dict[int, type[nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d]] = {
    3: nn.ConvTranspose1d,
    4: nn.ConvTranspose2d,
    5: nn.ConvTranspose3d,
}
BATCH_NORMS: dict[int, type[nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}
INSTANCE_NORMS: dict[int, type[nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d]] = {
    3: nn.InstanceNorm1d,
    4: nn.InstanceNorm2d,
    5: nn.InstanceNorm3d,
}
WEIGHT_INPUTS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1), "LSTM": (1, 2, 3), "GRU": (1, 2, 3),
    "PRelu": (1,), "LayerNormalization": (1, 2), "RMSNormalization": (1,), "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2), "Gather": (0,),
}  # fmt: skip
"""Inputs that are weights where they are constants."""


@dataclass(frozen=True)
class ConstantInputs:
    """One operator with what is known of its inputs.

    Attributes:
        operator: Its type.
        attributes: Its attributes.
        constants: Its inputs; None for one that is computed, and for one that is left out.
        computed: Whether each input is given and computed.
        rank: Axes of its first input; 0 where unknown.
    """

    operator: str
    attributes: Attributes
    constants: tuple[np.ndarray | None, ...]
    computed: tuple[bool, ...]
    rank: int = 0

    def constant(self, index: int) -> np.ndarray | None:
        """A constant input."""
        return self.constants[index] if index < len(self.constants) else None

    @property
    def only_first_computed(self) -> bool:
        """Whether it is a function of its first input."""
        return bool(self.computed) and self.computed[0] and not any(self.computed[1:])


def make_layer(node: ConstantInputs) -> nn.Module | None:
    """The layer that computes what a node computes of its first computed input; None where there is none."""
    make = MAKERS.get(node.operator)
    if make is None or not (node.only_first_computed or node.operator == "Gather"):
        return None
    return make(node)


def _parameter(array: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.array(array, np.float32)))


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))


def _per_axis(attributes: Attributes, name: str, dims: int, default: int = 1) -> tuple[int, ...]:
    return attributes.integers(name) or (default,) * dims


def _even_pads(attributes: Attributes, dims: int) -> tuple[int, ...] | None:
    """The padding of both ends of each axis; None where the ends differ or the padding is named."""
    mode = attributes.text("auto_pad", "NOTSET")
    pads = attributes.integers("pads") or (0,) * 2 * dims
    if mode == "VALID":
        return (0,) * dims
    return pads[:dims] if mode == "NOTSET" and pads[:dims] == pads[dims:] else None


class _Geometry(NamedTuple):
    """Attributes that convolutions share, one value for each axis of the kernel."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @classmethod
    def of(cls, attributes: Attributes, dims: int) -> _Geometry | None:
        """Those of a node; None where torch's layers do not take its padding."""
        padding = _even_pads(attributes, dims)
        if padding is None:
            return None
        stride, dilation = (_per_axis(attributes, name, dims) for name in ("strides", "dilations"))
        return cls(stride, padding, dilation, attributes.integer("group", 1))


def _convolution(node: ConstantInputs) -> nn.Module | None:
    weight, bias = node.constant(1), node.constant(2)
    if weight is None or weight.ndim not in CONVOLUTIONS:
        return None
    geometry = _Geometry.of(node.attributes, weight.ndim - 2)
    if geometry is None:
        return None
    stride, padding, dilation, groups = geometry
    sizes = weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:])
    layer = CONVOLUTIONS[weight.ndim](  # the kernel's rank is that of the class
        *sizes, stride, padding, dilation, groups, bias=bias is not None, device="meta"  # type: ignore[arg-type]
    )  # fmt: skip
    return _with_weights(layer, weight, bias)


def _transposed(node: ConstantInputs) -> nn.Module | None:
    weight, bias = node.constant(1), node.constant(2)
    if weight is None or weight.ndim not in TRANSPOSED or "output_shape" in node.attributes:
        return None
    geometry = _Geometry.of(node.attributes, weight.ndim - 2)
    if geometry is None:
        return None
    stride, padding, dilation, groups = geometry
    added = _per_axis(node.attributes, "output_padding", weight.ndim - 2, 0)
    sizes = weight.shape[0], weight.shape[1] * groups, tuple(weight.shape[2:])
    layer = TRANSPOSED[weight.ndim](  # the kernel's rank is that of the class
        *sizes, stride, padding, added, groups, bias=bias is not None, dilation=dilation, device="meta"  # type: ignore[arg-type]
    )  # fmt: skip
    return _with_weights(layer, weight, bias)


def _with_weights(layer: nn.Module, weight: np.ndarray, bias: np.ndarray | None) -> nn.Module:
    layer.weight = _parameter(weight)
    layer.bias = None if bias is None else _parameter(bias.reshape(-1))  # type: ignore[assignment]  # torch registers it
    return layer


def _gemm(node: ConstantInputs) -> nn.Module | None:
    weight, bias, attributes = node.constant(1), node.constant(2), node.attributes
    scaled = attributes.number("alpha", 1.0) != 1.0 or attributes.number("beta", 1.0) != 1.0
    if weight is None or weight.ndim != 2 or scaled or attributes.integer("transA", 0):
        return None
    return _linear(weight if attributes.integer("transB", 0) else weight.T, bias)


def _matmul(node: ConstantInputs) -> nn.Module | None:
    weight = node.constant(1)
    return None if weight is None or weight.ndim != 2 else _linear(weight.T, None)


def _linear(weight: np.ndarray, bias: np.ndarray | None) -> nn.Module | None:
    outputs, inputs = weight.shape
    if bias is not None and bias.size not in (1, outputs):
        return None
    layer = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    return _with_weights(layer, weight, None if bias is None else np.broadcast_to(bias.reshape(-1), (outputs,)))


def _batch_norm(node: ConstantInputs) -> nn.Module | None:
    weight, bias, mean, variance = (node.constant(index) for index in (1, 2, 3, 4))
    build = BATCH_NORMS.get(node.rank)
    if weight is None or bias is None or mean is None or variance is None or build is None:
        return None
    eps, momentum = node.attributes.number("epsilon", 1e-5), 1 - node.attributes.number("momentum", 0.9)
    layer = build(len(weight), eps=eps, momentum=momentum)
    layer.running_mean, layer.running_var = _tensor(mean), _tensor(variance)
    return _with_weights(layer, weight, bias)


def _layer_norm(node: ConstantInputs) -> nn.Module | None:
    weight, axis = node.constant(1), node.attributes.integer("axis", -1)
    dims = -axis if axis < 0 else node.rank - axis
    if weight is None or weight.ndim != dims:
        return None
    bias = node.constant(2)
    eps = node.attributes.number("epsilon", 1e-5)
    layer = nn.LayerNorm(tuple(weight.shape), eps=eps, bias=bias is not None, device="meta")
    layer.weight = _parameter(weight)
    if bias is not None:
        layer.bias = _parameter(bias)
    return layer


def _instance_norm(node: ConstantInputs) -> nn.Module | None:
    weight, bias, build = node.constant(1), node.constant(2), INSTANCE_NORMS.get(node.rank)
    if weight is None or bias is None or build is None:
        return None
    return _with_weights(build(len(weight), eps=node.attributes.number("epsilon", 1e-5), affine=True), weight, bias)


def _p_relu(node: ConstantInputs) -> nn.Module | None:
    slope = node.constant(1)
    if slope is None or slope.shape[1:] != (1,) * (slope.ndim - 1):
        return None
    if slope.size > 1 and slope.ndim != node.rank - 1:  # one slope for each index of another axis than the channels
        return None
    layer = nn.PReLU(slope.size)
    layer.weight = _parameter(slope.reshape(-1))
    return layer


def _embedding(node: ConstantInputs) -> nn.Module | None:
    table = node.constant(0)
    is_table = table is not None and table.ndim == 2 and table.dtype.kind == "f"
    if table is None or not is_table or not node.computed[1] or node.attributes.integer("axis", 0) != 0:
        return None
    rows, width = table.shape
    layer = nn.Embedding(rows, width, device="meta")
    layer.weight = _parameter(table)
    return layer


def _hard_sigmoid(node: ConstantInputs) -> nn.Module | None:
    usual = abs(node.attributes.number("alpha", 0.2) - 1 / 6) < 1e-6 and node.attributes.number("beta", 0.5) == 0.5
    return nn.Hardsigmoid() if usual else None


def _gelu(node: ConstantInputs) -> nn.Module:
    return nn.GELU(approximate=node.attributes.text("approximate", "none"))


MAKERS: Mapping[str, Callable[[ConstantInputs], nn.Module | None]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "InstanceNormalization": _instance_norm,
    "PRelu": _p_relu,
    "Gather": _embedding,
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Relu": lambda _: nn.ReLU(),
    "HardSwish": lambda _: nn.Hardswish(),
    "Sigmoid": lambda _: nn.Sigmoid(),
}
"""By operator type; batch norm with the statistics of the file, which training updates."""


def add_bias(layer: nn.Module, bias: np.ndarray) -> bool:
    """Give a layer without bias the one that is added after it, in place.

    Args:
        layer: Any.
        bias: The constant that is added to its output.

    Returns:
        Whether the sum is that of a bias per channel.
    """
    if isinstance(layer, nn.Linear):
        channels, shape = layer.out_features, (1,) * (bias.ndim - 1) + (layer.out_features,)
    elif isinstance(layer, nn.modules.conv._ConvNd):
        channels = layer.out_channels
        tail = (1,) * len(layer.kernel_size)
        shape = (1,) * (bias.ndim - len(tail) - 1) + (channels, *tail)
    else:
        return False
    if layer.bias is not None or bias.shape != shape:
        return False
    layer.bias = _parameter(bias.reshape(channels))
    return True


def tie_weights(layers: Sequence[tuple[nn.Module, str]]) -> None:
    """Let layers that read one weight of the graph share its parameter, in place.

    Args:
        layers: Each with the name of its weight.
    """
    first: dict[tuple[str, tuple[int, ...]], nn.Parameter] = {}
    for layer, name in layers:
        weight = layer.weight
        if isinstance(weight, nn.Parameter):
            layer.weight = first.setdefault((name, tuple(weight.shape)), weight)
