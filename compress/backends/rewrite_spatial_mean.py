"""Replace spatial means by pooling, for which runtimes have int8 kernels in any memory layout.

    y_nc = 1/(HW) Σ_hw x_nchw

is a ReduceMean over axes 2 and 3 of a tensor of rank 4, or a GlobalAveragePool. The pool keeps both axes with size 1; for a
ReduceMean that drops them (`keepdims` = 0), a Flatten from (N, C, 1, 1) to (N, C) follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx_ir as ir
from onnxscript.rewriter import pattern

from compress.backends import onnx_graph as graphs
from compress.core.language import gettext

if TYPE_CHECKING:
    from onnxscript.rewriter._pattern_ir import ValuePattern

SPATIAL_AXES = [2, 3]


def reducemean_to_gap(model: ir.Model) -> None:
    """Replace each ReduceMean over height and width by a GlobalAveragePool, and a Flatten if it drops these axes, in place."""
    if not any(node.op_type == "ReduceMean" for node in model.graph):
        return
    values = ir.convenience.create_value_mapping(graphs.with_shapes(model).graph)
    ranks = {name: len(value.shape) for name, value in values.items() if value.shape is not None}
    pattern.RewriteRuleSet([_rule(ranks)]).apply_to_model(model)


def _rule(ranks: Mapping[str, int]) -> pattern.RewriteRule:
    """The rule for a network whose tensors have these ranks."""

    def mean(op: pattern.OpsetPatternBuilder, x: ValuePattern) -> ValuePattern:
        return op.ReduceMean(x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["y"])

    def is_spatial(_context: object, x: ir.Value, y: ir.Value) -> pattern.MatchResult:
        result, axes = pattern.MatchResult(), _axes(y)
        if ranks.get(str(x.name)) != 4:
            return result.fail(gettext("the tensor does not have four dimensions (N, C, H, W)"), x)
        return (
            result
            if sorted(axis % 4 for axis in axes) == SPATIAL_AXES
            else result.fail(gettext("the axes are {axes}", axes=axes), y)
        )

    def pool(op: pattern.RewriterContext, x: ir.Value, y: ir.Value) -> ir.Value:
        node = y.producer()
        keeps_axes = node is None or graphs.attributes(node).get("keepdims", 1)
        pooled: ir.Value = op.GlobalAveragePool(x, _outputs=[str(y.name) if keeps_axes else f"{y.name}_pooled"])
        graphs.name_producer(pooled, node.name if node is not None else None)
        if keeps_axes:
            return pooled
        flat: ir.Value = op.Flatten(pooled, _outputs=[str(y.name)])
        graphs.name_producer(flat, f"{node.name if node is not None else None}/flatten")
        return flat

    return pattern.RewriteRule(mean, pool, is_spatial)


def _axes(y: ir.Value) -> list[int]:
    """Axes of a ReduceMean from its second input (opset 18) or its attribute; empty if they are computed."""
    node = y.producer()
    if node is None:
        return []
    constant = graphs.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    return [int(axis) for axis in (graphs.attributes(node).get("axes", ()) if constant is None else constant.ravel())]
