"""Move Q/DQ pairs before MaxPool, so that the pool reads integers.

    DQ(Q(max_i x_i)) = max_i DQ(Q(x_i)),      Q(x) = clip(round(x / s) + z), DQ(q) = s (q − z)

because Q and DQ are monotonic for s > 0. With the pair before the pool, the convolution writes int8 and the pool reads a
quarter of the bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir
from onnxscript.rewriter import pattern

from compress.backends import onnx_graph as graphs
from compress.core.language import gettext

if TYPE_CHECKING:
    from onnxscript.rewriter._pattern_ir import ValuePattern


def quantize_before_maxpool(model: ir.Model) -> None:
    """Replace x → MaxPool → Q → DQ by x → Q → DQ → MaxPool, in place.

    Not replaced if another node reads the output of the pool or the integers, or if the input is quantized already.
    """
    pattern.RewriteRuleSet([_RULE]).apply_to_model(model)


def _pair_after_pool(op: pattern.OpsetPatternBuilder, x: ValuePattern, scale: ValuePattern, zero: ValuePattern) -> ValuePattern:
    pooled = op.MaxPool(x, _allow_other_attributes=True, _outputs=["pooled"])
    integers = op.QuantizeLinear(pooled, scale, zero, _allow_other_attributes=True, _outputs=["integers"])
    return op.DequantizeLinear(integers, scale, zero, _allow_other_attributes=True, _outputs=["y"])


def _is_computed_in_float(_context: object, x: ir.Value, **_: ir.Value) -> pattern.MatchResult:
    result, source = pattern.MatchResult(), x.producer()
    if source is None:
        return result.fail(gettext("the pool reads the network's input"), x)
    return result.fail(gettext("the pool reads integers"), x) if source.op_type == "DequantizeLinear" else result


def _pair_before_pool(
    op: pattern.RewriterContext, x: ir.Value, y: ir.Value, pooled: ir.Value, integers: ir.Value, **_: ir.Value
) -> ir.Value:
    pool, quantize, dequantize = pooled.producer(), integers.producer(), y.producer()
    assert pool is not None and quantize is not None and dequantize is not None  # noqa: S101, PT018  # matched by the pattern
    rounded = op.QuantizeLinear(x, *quantize.inputs[1:], **quantize.attributes)
    exact = op.DequantizeLinear(rounded, *dequantize.inputs[1:], **dequantize.attributes)
    result: ir.Value = op.MaxPool(exact, **pool.attributes)
    for value, node in ((rounded, quantize), (exact, dequantize), (result, pool)):
        graphs.name_producer(value, node.name)
    return result


_RULE = pattern.RewriteRule(_pair_after_pool, _pair_before_pool, _is_computed_in_float)
