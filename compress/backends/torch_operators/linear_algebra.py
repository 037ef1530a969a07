"""Matrix products, normalisations and reductions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.backends.torch_operators.values import Attributes, Inputs, Operator, pairwise


def gemm(attributes: Attributes, x: Inputs) -> Tensor:
    """α A B + β C, with A or B transposed by `transA` and `transB`."""
    a, b = (x.tensor(n).t() if attributes.integer(name, 0) else x.tensor(n) for n, name in ((0, "transA"), (1, "transB")))
    product = torch.mul(a @ b, attributes.number("alpha", 1.0))
    added = x.optional(2)
    return product if added is None else product + attributes.number("beta", 1.0) * added


def _einsum(attributes: Attributes, x: Inputs) -> Tensor:
    product: Tensor = torch.einsum(attributes.text("equation", ""), *x.tensors())
    return product


def _layer_norm(attributes: Attributes, x: Inputs) -> Tensor:
    shape = x.tensor(0).shape[attributes.integer("axis", -1) :]
    return F.layer_norm(x.tensor(0), shape, x.tensor(1), x.optional(2), attributes.number("epsilon", 1e-5))


def _rms_norm(attributes: Attributes, x: Inputs) -> Tensor:
    shape = x.tensor(0).shape[attributes.integer("axis", -1) :]
    return F.rms_norm(x.tensor(0), shape, x.tensor(1), attributes.number("epsilon", 1e-5))


def _batch_norm(attributes: Attributes, x: Inputs) -> Tensor:
    if attributes.integer("training_mode", 0):
        msg = "training_mode"
        raise NotImplementedError(msg)
    weight, bias, mean, variance = (x.tensor(index) for index in (1, 2, 3, 4))
    eps = attributes.number("epsilon", 1e-5)
    return F.batch_norm(x.tensor(0), mean, variance, weight, bias, training=False, eps=eps)


def _group_norm(attributes: Attributes, x: Inputs) -> Tensor:
    """Group normalization; scale and bias are per channel, or per group before opset 21."""
    values, groups = x.tensor(0), attributes.integer("num_groups", 1)
    repeats = values.shape[1] // x.tensor(1).shape[0]
    weight, bias = (x.tensor(index).repeat_interleave(repeats) if repeats > 1 else x.tensor(index) for index in (1, 2))
    return F.group_norm(values, groups, weight, bias, attributes.number("epsilon", 1e-5))


def _instance_norm(attributes: Attributes, x: Inputs) -> Tensor:
    return F.instance_norm(x.tensor(0), weight=x.tensor(1), bias=x.tensor(2), eps=attributes.number("epsilon", 1e-5))


def _lp_norm(attributes: Attributes, x: Inputs) -> Tensor:
    order, axis = attributes.integer("p", 2), attributes.integer("axis", -1)
    norm: Tensor = torch.linalg.vector_norm(x.tensor(0), ord=order, dim=axis, keepdim=True)
    return x.tensor(0) / norm


Reduction = Callable[[Tensor, tuple[int, ...], bool], Tensor]


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


REDUCTIONS: dict[str, Reduction] = {
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceProd": _product,
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "ReduceL2": lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keepdim=keep),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep),
}


def axes_of(attributes: Attributes, x: Inputs) -> tuple[int, ...]:
    """Axes of a node, from its second input or its attribute; empty if it has neither."""
    axes = x.numbers(1) if x.has(1) else attributes.integers("axes")
    return tuple(axes or ())


def _reduction(function: Reduction) -> Operator:
    def reduce(attributes: Attributes, x: Inputs) -> Tensor:
        axes = axes_of(attributes, x)
        if not axes and attributes.integer("noop_with_empty_axes", 0):
            return x.tensor(0)
        return function(x.tensor(0), axes or tuple(range(x.tensor(0).ndim)), bool(attributes.integer("keepdims", 1)))

    return reduce


def _arg(function: Callable[..., Tensor]) -> Operator:
    def reduce(attributes: Attributes, x: Inputs) -> Tensor:
        if attributes.integer("select_last_index", 0):
            msg = "select_last_index"
            raise NotImplementedError(msg)
        return function(x.tensor(0), attributes.integer("axis", 0), keepdim=bool(attributes.integer("keepdims", 1)))

    return reduce


def _cumulative_sum(attributes: Attributes, x: Inputs) -> Tensor:
    (axis,) = x.numbers(1)
    values = x.tensor(0)
    reverse = attributes.integer("reverse", 0)
    ordered = values.flip(axis) if reverse else values
    total = ordered.cumsum(axis)
    if attributes.integer("exclusive", 0):
        total = total - ordered
    return total.flip(axis) if reverse else total


def _top_k(attributes: Attributes, x: Inputs) -> tuple[Tensor, Tensor]:
    (count,) = x.numbers(1)
    largest = bool(attributes.integer("largest", 1))
    values, indices = torch.topk(x.tensor(0), count, attributes.integer("axis", -1), largest)
    return values, indices


ALGEBRA_OPERATORS: dict[str, Operator] = {
    "Gemm": gemm,
    "MatMul": pairwise(torch.matmul),
    "Einsum": _einsum,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _rms_norm,
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LpNormalization": _lp_norm,
    "CumSum": _cumulative_sum,
    "TopK": _top_k,
    "ArgMax": _arg(torch.argmax),
    "ArgMin": _arg(torch.argmin),
    **{name: _reduction(function) for name, function in REDUCTIONS.items()},
}
