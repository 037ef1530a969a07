"""Operators that move, repeat, select or create elements, or change the shape or type of a tensor."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional as F

from compress.backends.torch_operators.linear_algebra import axes_of
from compress.backends.torch_operators.values import Attributes, Inputs, Numbers, Operator, unary


def _reshape(attributes: Attributes, x: Inputs) -> Tensor:
    values, shape = x.tensor(0), x.numbers(1)
    if not attributes.integer("allowzero", 0):
        shape = [values.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return values.reshape(shape)


def _transpose(attributes: Attributes, x: Inputs) -> Tensor:
    return x.tensor(0).permute(attributes.integers("perm") or tuple(reversed(range(x.tensor(0).ndim))))


def _flatten(attributes: Attributes, x: Inputs) -> Tensor:
    values = x.tensor(0)
    axis = attributes.integer("axis", 1) % (values.ndim + 1)
    return values.flatten(axis) if axis == 1 else values.reshape(values.shape[:axis].numel(), -1)


def _squeeze(attributes: Attributes, x: Inputs) -> Tensor:
    axes = axes_of(attributes, x)
    return x.tensor(0).squeeze(axes) if axes else x.tensor(0).squeeze()


def _unsqueeze(attributes: Attributes, x: Inputs) -> Tensor:
    values, axes = x.tensor(0), axes_of(attributes, x)
    dims = values.ndim + len(axes)
    for axis in sorted(axis % dims for axis in axes):
        values = values.unsqueeze(axis)
    return values


def _split(attributes: Attributes, x: Inputs) -> tuple[Tensor, ...]:
    values, axis = x.tensor(0), attributes.integer("axis", 0)
    sizes = x.numbers(1) if x.has(1) else attributes.integers("split")
    if sizes:
        return torch.split(values, list(sizes), axis)
    count = attributes.integer("num_outputs", 1)
    return torch.split(values, -(-values.shape[axis] // count), axis)


def _slice(_: Attributes, x: Inputs) -> Tensor:
    y = x.tensor(0)
    starts, ends = x.numbers(1), x.numbers(2)
    axes = x.numbers(3) if x.has(3) else list(range(len(starts)))
    steps = x.numbers(4) if x.has(4) else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = y.shape[axis]
        if step < 0:
            first, last = min(start + size if start < 0 else start, size - 1), max(end + size if end < 0 else end, -1)
            y = y.index_select(axis, torch.arange(first, last, step, device=y.device))
        else:
            y = y[(slice(None),) * (axis % y.ndim) + (slice(start, end, step),)]
    return y


def _gather(attributes: Attributes, x: Inputs) -> Tensor:
    values, axis = x.tensor(0), attributes.integer("axis", 0) % x.tensor(0).ndim
    index = x.values[1]
    if isinstance(index, np.ndarray) and index.ndim == 0:
        return values.select(axis, index.item())
    chosen = x.tensor(1)
    chosen = torch.where(chosen < 0, chosen + values.shape[axis], chosen)
    selected = values.index_select(axis, chosen.reshape(-1))
    return selected.reshape(*values.shape[:axis], *chosen.shape, *values.shape[axis + 1 :])


def _gather_elements(attributes: Attributes, x: Inputs) -> Tensor:
    values, index, axis = x.tensor(0), x.tensor(1), attributes.integer("axis", 0)
    return values.gather(axis, torch.where(index < 0, index + values.shape[axis], index))


def _gather_nd(attributes: Attributes, x: Inputs) -> Tensor:
    if attributes.integer("batch_dims", 0):
        msg = "batch_dims"
        raise NotImplementedError(msg)
    return x.tensor(0)[tuple(x.tensor(1).unbind(-1))]


def _scatter_nd(attributes: Attributes, x: Inputs) -> Tensor:
    reduction = attributes.text("reduction", "none")
    if reduction not in ("none", "add"):
        msg = f"reduction {reduction}"
        raise NotImplementedError(msg)
    return x.tensor(0).index_put(tuple(x.tensor(1).unbind(-1)), x.tensor(2), accumulate=reduction == "add")


def _scatter_elements(attributes: Attributes, x: Inputs) -> Tensor:
    if attributes.text("reduction", "none") != "none":
        msg = f"reduction {attributes.text('reduction', 'none')}"
        raise NotImplementedError(msg)
    values, index, axis = x.tensor(0), x.tensor(1), attributes.integer("axis", 0)
    return values.scatter(axis, torch.where(index < 0, index + values.shape[axis], index), x.tensor(2))


def _pad(attributes: Attributes, x: Inputs) -> Tensor:
    values, dims = x.tensor(0), x.tensor(0).ndim
    pads_and_axes = list(attributes.integers("pads") or ()) or x.numbers(1)
    axes = [axis % dims for axis in x.numbers(3)] if x.has(3) else list(range(dims))
    pads = {axis: (pads_and_axes[place], pads_and_axes[place + len(axes)]) for place, axis in enumerate(axes)}
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    mode = modes[attributes.text("mode", "constant")]
    around = [each for axis in reversed(range(dims)) for each in pads.get(axis, (0, 0))]
    if mode == "constant":
        fill = x.number(2) if x.has(2) else attributes.number("value", 0.0)
        return F.pad(values, around, value=float(x.tensor(2)) if fill is None else fill)
    while len(around) // 2 > max(dims - 2, 1) and around[-2:] == [0, 0]:
        around = around[:-2]
    if len(around) // 2 > dims - 2:
        values = F.pad(values[None, None], around, mode=mode)
        return values[0, 0]
    return F.pad(values, around, mode=mode)


def _cast(attributes: Attributes, x: Inputs) -> Tensor:
    dtype = ir.DataType(attributes.integer("to", 1))
    values = x.tensor(0)
    if dtype.is_floating_point():  # all floats of the network have the precision of its weights
        return values if values.is_floating_point() else values.float()
    return values.to(getattr(torch, dtype.numpy().name))


def _cast_like(_: Attributes, x: Inputs) -> Tensor:
    return x.tensor(0).to(x.tensor(1).dtype)


def _expand(_: Attributes, x: Inputs) -> Tensor:
    values, shape = x.tensor(0), x.numbers(1)
    dims = max(values.ndim, len(shape))
    own, asked = ([1] * (dims - len(sizes)) + list(sizes) for sizes in (values.shape, shape))
    return values.expand([size if other == 1 else other for size, other in zip(own, asked, strict=True)])


def _tile(_: Attributes, x: Inputs) -> Tensor:
    return x.tensor(0).repeat(x.numbers(1))


def _constant_of_shape(attributes: Attributes, x: Inputs) -> Tensor:
    value = attributes.array("value")
    fill = torch.zeros(1) if value is None else torch.from_numpy(np.array(value))
    return torch.full(x.numbers(0), fill.item(), dtype=fill.dtype, device=x.device)


def constant(attributes: Attributes) -> Numbers:
    """Content of a `Constant` node."""
    value = attributes.array("value")
    return np.asarray(next(iter(attributes.values.values()))) if value is None else value


def _range(_: Attributes, x: Inputs) -> Tensor:
    start, end, step = (value.item() if isinstance(value, (Tensor, np.ndarray)) else 0 for value in x.values)
    return torch.arange(start, end, step, device=x.device)


def _triangle(attributes: Attributes, x: Inputs) -> Tensor:
    shift = x.numbers(1)[0] if x.has(1) else 0
    return torch.triu(x.tensor(0), shift) if attributes.integer("upper", 1) else torch.tril(x.tensor(0), shift)


def _one_hot(attributes: Attributes, x: Inputs) -> Tensor:
    (depth,), (off, on) = x.numbers(1), x.tensor(2)
    index = x.tensor(0).long() % depth
    places = torch.arange(depth, device=x.device)
    return torch.where(index.unsqueeze(-1) == places, on, off).movedim(-1, attributes.integer("axis", -1))


def _depth_to_space(attributes: Attributes, x: Inputs) -> Tensor:
    values, size = x.tensor(0), attributes.integer("blocksize", 1)
    if attributes.text("mode", "DCR") == "CRD":
        return F.pixel_shuffle(values, size)
    n, c, h, w = values.shape
    blocks = values.reshape(n, size, size, c // size**2, h, w)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, c // size**2, h * size, w * size)


def _space_to_depth(attributes: Attributes, x: Inputs) -> Tensor:
    values, size = x.tensor(0), attributes.integer("blocksize", 1)
    n, c, h, w = values.shape
    blocks = values.reshape(n, c, h // size, size, w // size, size)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, c * size**2, h // size, w // size)


LAYOUT_OPERATORS: dict[str, Operator] = {
    "Identity": unary(lambda x: x),
    "Dropout": unary(lambda x: x),
    "Concat": lambda attributes, x: torch.cat(x.tensors(), attributes.integer("axis", 0)),
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ScatterND": _scatter_nd,
    "ScatterElements": _scatter_elements,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Constant": lambda attributes, _: constant(attributes),
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Trilu": _triangle,
    "OneHot": _one_hot,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
