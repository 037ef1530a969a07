"""ONNX operators as torch functions with gradients: those that exported classification networks consist of.

Each takes a node's attributes and its inputs (None for one that is left out) and returns its first output, or all of them.
Tensors that hold shapes are int64 on the CPU. `to_torch` refuses operators that are not in `OPERATORS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional as F

Attributes = Mapping[str, Any]
Inputs = Sequence[Tensor]
"""An input that is left out is None."""
Operator = Callable[[Attributes, Inputs], Tensor | tuple[Tensor, ...]]


def conv(attributes: Attributes, x: Inputs) -> Tensor:
    """Convolution over one to three axes."""
    function: Callable[..., Tensor] = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x[1].ndim]
    dims = x[1].ndim - 2
    bias = x[2] if len(x) > 2 else None
    stride, dilation = (tuple(attributes.get(name, (1,) * dims)) for name in ("strides", "dilations"))
    return function(pad_input(x[0], attributes, dims), x[1], bias, stride, 0, dilation, int(attributes.get("group", 1)))


def pad_input(x: Tensor, attributes: Attributes, dims: int, value: float = 0.0) -> Tensor:
    """The input with the padding of a convolution or pool: `pads` holds the starts of all axes, then the ends.

    Raises:
        NotImplementedError: Padding by name.
    """
    if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        msg = "padding by auto_pad"
        raise NotImplementedError(msg)
    pads = attributes.get("pads", (0,) * 2 * dims)
    around = [pads[axis + end * dims] for axis in reversed(range(dims)) for end in (0, 1)]
    return F.pad(x, around, value=value) if any(around) else x


def _pool(attributes: Attributes, x: Tensor, *, largest: bool) -> Tensor:
    size, dims = tuple(attributes["kernel_shape"]), len(attributes["kernel_shape"])
    stride = tuple(attributes.get("strides", (1,) * dims))
    ceil_mode = bool(attributes.get("ceil_mode", 0))
    if dims != 2:
        msg = f"pooling over {dims} axes"
        raise NotImplementedError(msg)
    if largest:
        dilation = tuple(attributes.get("dilations", (1, 1)))
        inside = pad_input(x, attributes, dims, -torch.inf)
        return F.max_pool2d(inside, size, stride, 0, dilation, ceil_mode=ceil_mode)
    pads = attributes.get("pads", (0,) * 2 * dims)
    count_include_pad = bool(attributes.get("count_include_pad", 0))
    if tuple(pads[:dims]) != tuple(pads[dims:]):
        msg = "average pooling with uneven padding"
        raise NotImplementedError(msg)
    return F.avg_pool2d(x, size, stride, tuple(pads[:dims]), ceil_mode=ceil_mode, count_include_pad=count_include_pad)


def gemm(attributes: Attributes, x: Inputs) -> Tensor:
    """α A B + β C, with A or B transposed by `transA` and `transB`."""
    a, b = (x[n].t() if attributes.get(name) else x[n] for n, name in ((0, "transA"), (1, "transB")))
    product = torch.mul(a @ b, attributes.get("alpha", 1.0))
    return product + float(attributes.get("beta", 1.0)) * x[2] if len(x) > 2 and x[2] is not None else product


def _clip(_: Attributes, x: Inputs) -> Tensor:
    low, high = (x[n].to(x[0]) if len(x) > n and x[n] is not None else None for n in (1, 2))
    return torch.clamp(x[0], low, high)


def _hard_sigmoid(attributes: Attributes, x: Inputs) -> Tensor:
    return torch.clamp(attributes.get("alpha", 0.2) * x[0] + attributes.get("beta", 0.5), 0, 1)


def _layer_norm(attributes: Attributes, x: Inputs) -> Tensor:
    shape = x[0].shape[attributes.get("axis", -1) :]
    return F.layer_norm(x[0], shape, x[1], x[2] if len(x) > 2 else None, attributes.get("epsilon", 1e-5))


def _batch_norm(attributes: Attributes, x: Inputs) -> Tensor:
    return F.batch_norm(x[0], x[3], x[4], x[1], x[2], training=False, eps=attributes.get("epsilon", 1e-5))


def _group_norm(attributes: Attributes, x: Inputs) -> Tensor:
    return F.group_norm(x[0], int(attributes["num_groups"]), x[1], x[2], attributes.get("epsilon", 1e-5))


def _instance_norm(attributes: Attributes, x: Inputs) -> Tensor:
    return F.instance_norm(x[0], weight=x[1], bias=x[2], eps=attributes.get("epsilon", 1e-5))


def _reshape(attributes: Attributes, x: Inputs) -> Tensor:
    shape = x[1].tolist()
    if not attributes.get("allowzero"):
        shape = [x[0].shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return x[0].reshape(shape)


def _transpose(attributes: Attributes, x: Inputs) -> Tensor:
    return x[0].permute(tuple(attributes.get("perm", tuple(reversed(range(x[0].ndim))))))


def _flatten(attributes: Attributes, x: Inputs) -> Tensor:
    axis = attributes.get("axis", 1) % (x[0].ndim + 1)
    return x[0].flatten(axis) if axis == 1 else x[0].reshape(x[0].shape[:axis].numel(), -1)


def _axes(attributes: Attributes, x: Inputs) -> tuple[int, ...]:
    axes = attributes.get("axes") if len(x) < 2 or x[1] is None else x[1].tolist()
    return tuple(axes or ())


def _squeeze(attributes: Attributes, x: Inputs) -> Tensor:
    axes = _axes(attributes, x)
    return x[0].squeeze(axes) if axes else x[0].squeeze()


def _unsqueeze(attributes: Attributes, x: Inputs) -> Tensor:
    y = x[0]
    dims = y.ndim + len(_axes(attributes, x))
    for axis in sorted(axis % dims for axis in _axes(attributes, x)):
        y = y.unsqueeze(axis)
    return y


def _reduction(function: Callable[..., Tensor]) -> Operator:
    def reduce(attributes: Attributes, x: Inputs) -> Tensor:
        axes = _axes(attributes, x) or tuple(range(x[0].ndim))
        if not _axes(attributes, x) and attributes.get("noop_with_empty_axes"):
            return x[0]
        return function(x[0], dim=axes, keepdim=bool(attributes.get("keepdims", 1)))

    return reduce


def _split(attributes: Attributes, x: Inputs) -> tuple[Tensor, ...]:
    axis = attributes.get("axis", 0)
    if len(x) > 1 and x[1] is not None:
        return torch.split(x[0], x[1].tolist(), axis)
    return x[0].chunk(int(attributes["num_outputs"]), axis)


def _slice(_: Attributes, x: Inputs) -> Tensor:
    y = x[0]
    starts, ends = x[1].tolist(), x[2].tolist()
    axes = x[3].tolist() if len(x) > 3 and x[3] is not None else list(range(len(starts)))
    steps = x[4].tolist() if len(x) > 4 and x[4] is not None else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = y.shape[axis]
        if step < 0:
            first, last = min(start + size if start < 0 else start, size - 1), max(end + size if end < 0 else end, -1)
            y = y.index_select(axis, torch.arange(first, last, step, device=y.device))
        else:
            y = y[(slice(None),) * (axis % y.ndim) + (slice(start, end, step),)]
    return y


def _gather(attributes: Attributes, x: Inputs) -> Tensor:
    axis = attributes.get("axis", 0)
    index = x[1] % x[0].shape[axis]
    selected = x[0].index_select(axis, index.reshape(-1).to(x[0].device))
    return selected.reshape(*x[0].shape[: axis % x[0].ndim], *index.shape, *x[0].shape[axis % x[0].ndim + 1 :])


def _pad(attributes: Attributes, x: Inputs) -> Tensor:
    pads, dims = x[1].tolist(), x[0].ndim
    if len(x) > 3 and x[3] is not None:
        msg = "padding of selected axes"
        raise NotImplementedError(msg)
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}[attributes.get("mode", "constant")]
    around = [pads[axis + end * dims] for axis in reversed(range(dims)) for end in (0, 1)]
    if mode != "constant":
        return F.pad(x[0], around[:4], mode=mode)
    return F.pad(x[0], around, value=float(x[2]) if len(x) > 2 and x[2] is not None else 0.0)


def _shape(attributes: Attributes, x: Inputs) -> Tensor:
    return torch.tensor(x[0].shape[attributes.get("start", 0) : attributes.get("end")], dtype=torch.int64)


def _cast(attributes: Attributes, x: Inputs) -> Tensor:
    return x[0].to(getattr(torch, ir.DataType(attributes["to"]).numpy().name))


def _expand(_: Attributes, x: Inputs) -> Tensor:
    shape = torch.broadcast_shapes(x[0].shape, tuple(x[1].tolist()))  # type: ignore[no-untyped-call]
    return x[0].expand(shape)


def _constant_of_shape(attributes: Attributes, x: Inputs) -> Tensor:
    value = attributes.get("value")
    array = torch.from_numpy(value.numpy().copy()) if value is not None else torch.zeros(1)
    return array.expand(x[0].tolist()).clone()


def _constant(attributes: Attributes, _: Inputs) -> Tensor:
    if "value" not in attributes:
        return torch.tensor(next(iter(attributes.values())))
    return torch.from_numpy(attributes["value"].numpy().copy())


def _pairwise(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """A function of two tensors, folded over more; a constant that came from a shape moves to the device of the others."""

    def apply(_: Attributes, x: Inputs) -> Tensor:
        device = next((tensor.device for tensor in x if tensor.device.type != "cpu"), x[0].device)
        y: Tensor = x[0].to(device)
        for tensor in x[1:]:
            y = function(y, tensor.to(device))
        return y

    return apply


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda _, x: function(x[0])


OPERATORS: dict[str, Operator] = {
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": _pairwise(torch.matmul),
    "Relu": _unary(torch.relu),
    "Clip": _clip,
    "HardSwish": _unary(F.hardswish),
    "HardSigmoid": _hard_sigmoid,
    "Sigmoid": _unary(torch.sigmoid),
    "Tanh": _unary(torch.tanh),
    "Softplus": _unary(F.softplus),
    "Mish": _unary(F.mish),
    "LeakyRelu": lambda attributes, x: F.leaky_relu(x[0], attributes.get("alpha", 0.01)),
    "Elu": lambda attributes, x: F.elu(x[0], attributes.get("alpha", 1.0)),
    "PRelu": _pairwise(lambda a, slope: torch.where(a >= 0, a, a * slope)),
    "Gelu": lambda attributes, x: F.gelu(x[0], approximate=attributes.get("approximate", "none")),
    "Swish": lambda attributes, x: x[0] * torch.sigmoid(attributes.get("alpha", 1.0) * x[0]),
    "Softmax": lambda attributes, x: torch.softmax(x[0], attributes.get("axis", -1)),
    "LogSoftmax": lambda attributes, x: torch.log_softmax(x[0], attributes.get("axis", -1)),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Log": _unary(torch.log),
    "Sqrt": _unary(torch.sqrt),
    "Abs": _unary(torch.abs),
    "Neg": _unary(torch.neg),
    "Reciprocal": _unary(torch.reciprocal),
    "Identity": _unary(lambda x: x),
    "Dropout": _unary(lambda x: x),
    "LayerNormalization": _layer_norm,
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "Add": _pairwise(torch.add),
    "Sub": _pairwise(torch.sub),
    "Mul": _pairwise(torch.mul),
    "Div": _pairwise(_divide),
    "Pow": _pairwise(torch.pow),
    "Sum": _pairwise(torch.add),
    "Min": _pairwise(torch.minimum),
    "Max": _pairwise(torch.maximum),
    "Equal": _pairwise(torch.eq),
    "Where": lambda _, x: torch.where(x[0].to(x[1].device), x[1], x[2]),
    "Concat": lambda attributes, x: torch.cat(list(x), attributes["axis"]),
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "Pad": _pad,
    "Shape": _shape,
    "Cast": _cast,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "MaxPool": lambda attributes, x: _pool(attributes, x[0], largest=True),
    "AveragePool": lambda attributes, x: _pool(attributes, x[0], largest=False),
    "GlobalAveragePool": lambda _, x: x[0].mean(tuple(range(2, x[0].ndim)), keepdim=True),
    "GlobalMaxPool": lambda _, x: x[0].amax(tuple(range(2, x[0].ndim)), keepdim=True),
    "ReduceMean": _reduction(torch.mean),
    "ReduceSum": _reduction(torch.sum),
    "ReduceMax": _reduction(torch.amax),
    "ReduceL2": _reduction(lambda x, dim, keepdim: torch.linalg.vector_norm(x, dim=dim, keepdim=keepdim)),
}
"""By operator type."""
