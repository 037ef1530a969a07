"""HardSwish and HardSigmoid in integers, for ONNX Runtime, which has no integer kernel for them.

    HardSwish(x) = x · HardSigmoid(x),      HardSigmoid(x) = clip(α x + β, 0, 1)

With x ≈ s (q − z), α x ≈ (α s)(q − z) has the same integers with another scale. So the Q/DQ graph contains

    DequantizeLinear(q, α s, z) + β  ─►  QuantizeLinear(1/255, 0)

which ONNX Runtime fuses into one integer sum (`QLinearAdd`). An unsigned integer with scale 1/255 and zero point 0 saturates at
0 and 1, which replaces the clip. The product with x becomes an integer product (`QLinearMul`).

Symbols: s, z scale and zero point of x; q uint8; α > 0, β in (0, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import pattern

from compress.backends import onnx_graph as graphs
from compress.core.language import gettext

if TYPE_CHECKING:
    from onnxscript.rewriter._pattern_ir import ValuePattern

LEVELS = 255
"""Integer that represents 1, the largest output of HardSigmoid."""


def decompose_hardswish(model: ir.Model) -> None:
    """Replace each HardSwish by HardSigmoid and Mul, in place; the network computes the same function."""
    pattern.RewriteRuleSet([_DECOMPOSE]).apply_to_model(model)


def original_node_name(name: str) -> str:
    """Name of the HardSwish that a node was decomposed from; otherwise the name itself."""
    return name.removesuffix("/gate").removesuffix("/product")


def hardsigmoid_to_qadd(model: ir.Model) -> None:
    """Replace each HardSigmoid between Q/DQ pairs by a saturating integer sum, in place.

    A HardSigmoid with float input or output, or with α or β out of range, is not replaced.

    Args:
        model: Q/DQ graph with uint8 activations; outputs of HardSigmoid have scale 1/255 and zero point 0.
    """
    sources = [
        node.inputs[0].producer() for node in model.graph if node.op_type == "HardSigmoid" and node.inputs[0] is not None
    ]
    pattern.RewriteRuleSet([_TO_QADD]).apply_to_model(model)
    unread = {node for node in sources if node is not None and node.graph is model.graph and not node.outputs[0].uses()}
    model.graph.remove(unread, safe=True)  # the runtime would execute them although nothing reads their outputs


def _hardswish(op: pattern.OpsetPatternBuilder, x: ValuePattern) -> ValuePattern:
    return op.HardSwish(x, _outputs=["y"])


def _gate_and_product(op: pattern.RewriterContext, x: ir.Value, y: ir.Value) -> ir.Value:
    name = "" if (node := y.producer()) is None else node.name
    gate = op.HardSigmoid(x, alpha=1 / 6, beta=0.5, _outputs=[f"{y.name}_gate"])
    product: ir.Value = op.Mul(x, gate)
    for value, suffix in ((gate, "gate"), (product, "product")):
        graphs.name_producer(value, f"{name}/{suffix}")
    return product


def _hardsigmoid(op: pattern.OpsetPatternBuilder, x: ValuePattern) -> ValuePattern:
    return op.HardSigmoid(x, _allow_other_attributes=True, _outputs=["y"])


def _is_between_integers(_context: object, x: ir.Value, y: ir.Value) -> pattern.MatchResult:
    result, (alpha, beta), before = pattern.MatchResult(), _slope_and_offset(y), x.producer()
    if before is None or before.op_type != "DequantizeLinear":
        return result.fail(gettext("its input is float"), x)
    if not any(reader.op_type == "QuantizeLinear" for reader in y.consumers()):
        return result.fail(gettext("its output is float"), y)
    return (
        result
        if alpha > 0 and 0 < beta <= 1
        else result.fail(gettext("α = {alpha:g} or β = {beta:g} is out of range", alpha=alpha, beta=beta), y)
    )


def _integer_sum(op: pattern.RewriterContext, x: ir.Value, y: ir.Value) -> ir.Value:
    """DQ(q, α s, z) + DQ(255, β/255, 0); x is DQ(q, s, z)."""
    (alpha, beta), before = _slope_and_offset(y), x.producer()
    assert before is not None  # noqa: S101  # see _is_between_integers
    q, s, z = before.inputs
    arrays = {
        "slope": np.asarray(graphs.constant(s)) * np.float32(alpha),
        "beta": np.asarray(np.uint8(LEVELS)),
        "beta_scale": np.asarray(np.float32(beta / LEVELS)),
        "zero": np.asarray(np.uint8(0)),
    }  # the quantizer has a `{y}_scale`
    slope, *offset = (op.initializer(ir.tensor(array, name=f"{y.name}_{name}")) for name, array in arrays.items())
    scaled = op.DequantizeLinear(q, slope, z, _outputs=[f"{y.name}_scaled"])
    total: ir.Value = op.Add(scaled, op.DequantizeLinear(*offset, _outputs=[f"{y.name}_offset"]))
    graphs.name_producer(total, "" if (node := y.producer()) is None else node.name)
    return total


def _slope_and_offset(y: ir.Value) -> tuple[float, float]:
    """α and β of a HardSigmoid."""
    settings = {} if (node := y.producer()) is None else graphs.attributes(node)
    return settings.get("alpha", 0.2), settings.get("beta", 0.5)


_DECOMPOSE = pattern.RewriteRule(_hardswish, _gate_and_product)
_TO_QADD = pattern.RewriteRule(_hardsigmoid, _integer_sum, _is_between_integers)
