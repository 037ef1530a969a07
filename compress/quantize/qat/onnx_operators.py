"""ONNX operators as torch functions with gradients: as many as exported classification networks are made of.

Each takes a node's attributes and its inputs (None for one left out) and gives its first output, or all of them. Tensors that
hold shapes are int64 on the CPU. What is not here is not replayed: see `replay`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
import torch
from torch import Tensor
from torch.nn import functional as F

Attributes = Mapping[str, Any]
Inputs = Sequence[Tensor]
"""An input that is left out is None."""
Operator = Callable[[Attributes, Inputs], Tensor | tuple[Tensor, ...]]


def conv(given: Attributes, x: Inputs) -> Tensor:
    """Convolution over one to three axes."""
    function: Callable[..., Tensor] = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x[1].ndim]
    dims = x[1].ndim - 2
    bias = x[2] if len(x) > 2 else None
    stride, dilation = (tuple(given.get(name, (1,) * dims)) for name in ("strides", "dilations"))
    return function(padded(x[0], given, dims), x[1], bias, stride, 0, dilation, int(given.get("group", 1)))


def padded(x: Tensor, given: Attributes, dims: int, value: float = 0.0) -> Tensor:
    """X with the padding of a convolution or pool: `pads` holds the starts of all axes, then the ends.

    Raises:
        NotImplementedError: Padding by name.
    """
    if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        msg = "padding by auto_pad"
        raise NotImplementedError(msg)
    pads = given.get("pads", (0,) * 2 * dims)
    around = [pads[axis + end * dims] for axis in reversed(range(dims)) for end in (0, 1)]
    return F.pad(x, around, value=value) if any(around) else x


def _pool(given: Attributes, x: Tensor, *, largest: bool) -> Tensor:
    size, dims = tuple(given["kernel_shape"]), len(given["kernel_shape"])
    stride = tuple(given.get("strides", (1,) * dims))
    rounded_up = bool(given.get("ceil_mode", 0))
    if dims != 2:
        msg = f"pooling over {dims} axes"
        raise NotImplementedError(msg)
    if largest:
        dilation = tuple(given.get("dilations", (1, 1)))
        inside = padded(x, given, dims, -torch.inf)
        return F.max_pool2d(inside, size, stride, 0, dilation, ceil_mode=rounded_up)
    pads = given.get("pads", (0,) * 2 * dims)
    counted = bool(given.get("count_include_pad", 0))
    if tuple(pads[:dims]) != tuple(pads[dims:]):
        msg = "average pooling with uneven padding"
        raise NotImplementedError(msg)
    return F.avg_pool2d(x, size, stride, tuple(pads[:dims]), ceil_mode=rounded_up, count_include_pad=counted)


def gemm(given: Attributes, x: Inputs) -> Tensor:
    """Alpha A B + beta C, A and B transposed where asked."""
    a, b = (x[n].t() if given.get(name) else x[n] for n, name in ((0, "transA"), (1, "transB")))
    product = torch.mul(a @ b, given.get("alpha", 1.0))
    return product + float(given.get("beta", 1.0)) * x[2] if len(x) > 2 and x[2] is not None else product


def _clip(_: Attributes, x: Inputs) -> Tensor:
    low, high = (x[n].to(x[0]) if len(x) > n and x[n] is not None else None for n in (1, 2))
    return torch.clamp(x[0], low, high)


def _hard_sigmoid(given: Attributes, x: Inputs) -> Tensor:
    return torch.clamp(given.get("alpha", 0.2) * x[0] + given.get("beta", 0.5), 0, 1)


def _layer_norm(given: Attributes, x: Inputs) -> Tensor:
    shape = x[0].shape[given.get("axis", -1) :]
    return F.layer_norm(x[0], shape, x[1], x[2] if len(x) > 2 else None, given.get("epsilon", 1e-5))


def _batch_norm(given: Attributes, x: Inputs) -> Tensor:
    return F.batch_norm(x[0], x[3], x[4], x[1], x[2], training=False, eps=given.get("epsilon", 1e-5))


def _group_norm(given: Attributes, x: Inputs) -> Tensor:
    return F.group_norm(x[0], int(given["num_groups"]), x[1], x[2], given.get("epsilon", 1e-5))


def _instance_norm(given: Attributes, x: Inputs) -> Tensor:
    return F.instance_norm(x[0], weight=x[1], bias=x[2], eps=given.get("epsilon", 1e-5))


def _reshape(given: Attributes, x: Inputs) -> Tensor:
    shape = x[1].tolist()
    if not given.get("allowzero"):
        shape = [x[0].shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return x[0].reshape(shape)


def _transpose(given: Attributes, x: Inputs) -> Tensor:
    return x[0].permute(tuple(given.get("perm", tuple(reversed(range(x[0].ndim))))))


def _flatten(given: Attributes, x: Inputs) -> Tensor:
    axis = given.get("axis", 1) % (x[0].ndim + 1)
    return x[0].flatten(axis) if axis == 1 else x[0].reshape(x[0].shape[:axis].numel(), -1)


def _axes(given: Attributes, x: Inputs) -> tuple[int, ...]:
    listed = given.get("axes") if len(x) < 2 or x[1] is None else x[1].tolist()
    return tuple(listed or ())


def _squeeze(given: Attributes, x: Inputs) -> Tensor:
    axes = _axes(given, x)
    return x[0].squeeze(axes) if axes else x[0].squeeze()


def _unsqueeze(given: Attributes, x: Inputs) -> Tensor:
    y = x[0]
    dims = y.ndim + len(_axes(given, x))
    for axis in sorted(axis % dims for axis in _axes(given, x)):
        y = y.unsqueeze(axis)
    return y


def _reduced(function: Callable[..., Tensor]) -> Operator:
    def reduce(given: Attributes, x: Inputs) -> Tensor:
        axes = _axes(given, x) or tuple(range(x[0].ndim))
        if not _axes(given, x) and given.get("noop_with_empty_axes"):
            return x[0]
        return function(x[0], dim=axes, keepdim=bool(given.get("keepdims", 1)))

    return reduce


def _split(given: Attributes, x: Inputs) -> tuple[Tensor, ...]:
    axis = given.get("axis", 0)
    if len(x) > 1 and x[1] is not None:
        return torch.split(x[0], x[1].tolist(), axis)
    return x[0].chunk(int(given["num_outputs"]), axis)


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


def _gather(given: Attributes, x: Inputs) -> Tensor:
    axis = given.get("axis", 0)
    index = x[1] % x[0].shape[axis]
    found = x[0].index_select(axis, index.reshape(-1).to(x[0].device))
    return found.reshape(*x[0].shape[: axis % x[0].ndim], *index.shape, *x[0].shape[axis % x[0].ndim + 1 :])


def _pad(given: Attributes, x: Inputs) -> Tensor:
    pads, dims = x[1].tolist(), x[0].ndim
    if len(x) > 3 and x[3] is not None:
        msg = "padding of chosen axes"
        raise NotImplementedError(msg)
    mode = {b"constant": "constant", b"reflect": "reflect", b"edge": "replicate"}[given.get("mode", b"constant")]
    around = [pads[axis + end * dims] for axis in reversed(range(dims)) for end in (0, 1)]
    if mode != "constant":
        return F.pad(x[0], around[:4], mode=mode)
    return F.pad(x[0], around, value=float(x[2]) if len(x) > 2 and x[2] is not None else 0.0)


def _shape(given: Attributes, x: Inputs) -> Tensor:
    return torch.tensor(x[0].shape[given.get("start", 0) : given.get("end")], dtype=torch.int64)


def _cast(given: Attributes, x: Inputs) -> Tensor:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(given["to"]).name
    return x[0].to(getattr(torch, dtype))


def _expand(_: Attributes, x: Inputs) -> Tensor:
    shape = torch.broadcast_shapes(x[0].shape, tuple(x[1].tolist()))  # type: ignore[no-untyped-call]
    return x[0].expand(shape)


def _filled(given: Attributes, x: Inputs) -> Tensor:
    value = given.get("value")
    array = torch.from_numpy(onnx.numpy_helper.to_array(value).copy()) if value is not None else torch.zeros(1)
    return array.expand(x[0].tolist()).clone()


def _constant(given: Attributes, _: Inputs) -> Tensor:
    if "value" not in given:
        return torch.tensor(next(iter(given.values())))
    return torch.from_numpy(onnx.numpy_helper.to_array(given["value"]).copy())


def _pairwise(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """A function of two tensors, folded over more; a constant that came from a shape is put where the other is."""

    def apply(_: Attributes, x: Inputs) -> Tensor:
        place = next((one.device for one in x if one.device.type != "cpu"), x[0].device)
        y: Tensor = x[0].to(place)
        for one in x[1:]:
            y = function(y, one.to(place))
        return y

    return apply


def _divided(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _alone(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda _, x: function(x[0])


OPERATORS: dict[str, Operator] = {
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": _pairwise(torch.matmul),
    "Relu": _alone(torch.relu),
    "Clip": _clip,
    "HardSwish": _alone(F.hardswish),
    "HardSigmoid": _hard_sigmoid,
    "Sigmoid": _alone(torch.sigmoid),
    "Tanh": _alone(torch.tanh),
    "Softplus": _alone(F.softplus),
    "Mish": _alone(F.mish),
    "LeakyRelu": lambda given, x: F.leaky_relu(x[0], given.get("alpha", 0.01)),
    "Elu": lambda given, x: F.elu(x[0], given.get("alpha", 1.0)),
    "PRelu": _pairwise(lambda a, slope: torch.where(a >= 0, a, a * slope)),
    "Gelu": lambda given, x: F.gelu(x[0], approximate=given.get("approximate", b"none").decode()),
    "Swish": lambda given, x: x[0] * torch.sigmoid(given.get("alpha", 1.0) * x[0]),
    "Softmax": lambda given, x: torch.softmax(x[0], given.get("axis", -1)),
    "LogSoftmax": lambda given, x: torch.log_softmax(x[0], given.get("axis", -1)),
    "Erf": _alone(torch.erf),
    "Exp": _alone(torch.exp),
    "Log": _alone(torch.log),
    "Sqrt": _alone(torch.sqrt),
    "Abs": _alone(torch.abs),
    "Neg": _alone(torch.neg),
    "Reciprocal": _alone(torch.reciprocal),
    "Identity": _alone(lambda x: x),
    "Dropout": _alone(lambda x: x),
    "LayerNormalization": _layer_norm,
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "Add": _pairwise(torch.add),
    "Sub": _pairwise(torch.sub),
    "Mul": _pairwise(torch.mul),
    "Div": _pairwise(_divided),
    "Pow": _pairwise(torch.pow),
    "Sum": _pairwise(torch.add),
    "Min": _pairwise(torch.minimum),
    "Max": _pairwise(torch.maximum),
    "Equal": _pairwise(torch.eq),
    "Where": lambda _, x: torch.where(x[0].to(x[1].device), x[1], x[2]),
    "Concat": lambda given, x: torch.cat(list(x), given["axis"]),
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
    "ConstantOfShape": _filled,
    "MaxPool": lambda given, x: _pool(given, x[0], largest=True),
    "AveragePool": lambda given, x: _pool(given, x[0], largest=False),
    "GlobalAveragePool": lambda _, x: x[0].mean(tuple(range(2, x[0].ndim)), keepdim=True),
    "GlobalMaxPool": lambda _, x: x[0].amax(tuple(range(2, x[0].ndim)), keepdim=True),
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "ReduceMax": _reduced(torch.amax),
    "ReduceL2": _reduced(lambda x, dim, keepdim: torch.linalg.vector_norm(x, dim=dim, keepdim=keepdim)),
}
"""By operator type."""
