"""GELU as one operator of ONNX Runtime.

    gelu(x) = x · ½ (1 + erf(x / √2))

The factors x and ½ may be multiplied in any order. ONNX Runtime's own fusion knows one of them, which is not the one that
torch's exporter writes.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.backends.fusion.attention import DOMAIN, VERSION, _constant_factor


def fuse_gelu(model: ir.Model) -> int:
    """Replace every GELU, in place; nodes that nothing reads any more stay. Returns their number."""
    found = 0
    for node in [node for node in model.graph if node.op_type == "Erf"]:
        source, result = _source(node), _result(node)
        if source is None or result is None or result[1] is not source:
            continue
        last = result[0]
        output = last.outputs[0]
        name = str(output.name)
        gelu = ir.node("Gelu", [source], domain=DOMAIN, name=str(last.name), outputs=[ir.Value(name=f"{name}_fused")])
        model.graph.insert_after(last, gelu)
        gelu.outputs[0].type, gelu.outputs[0].shape = output.type, output.shape
        output.replace_all_uses_with(gelu.outputs[0], replace_graph_outputs=True)
        output.name, last.name = f"{name}_product", f"{last.name}_product"
        gelu.outputs[0].name = name
        found += 1
    if found:
        model.graph.opset_imports[DOMAIN] = VERSION
    return found


def _source(erf: ir.Node) -> ir.Value | None:
    """X of erf(x / √2)."""
    node = None if erf.inputs[0] is None else erf.inputs[0].producer()
    if node is None or node.op_type not in ("Mul", "Div"):
        return None
    factor, source = _constant_factor(node)
    return source if factor is not None and math.isclose(factor, math.sqrt(0.5), rel_tol=1e-4) else None


def _result(erf: ir.Node) -> tuple[ir.Node, ir.Value] | None:
    """The last product of GELU, and its factor besides ½ and 1 + erf(x / √2)."""
    readers = [*erf.outputs[0].consumers()]
    if len(readers) != 1 or readers[0].op_type != "Add" or not any(_is(value, 1.0) for value in readers[0].inputs):
        return None
    value, other, halves = readers[0].outputs[0], None, 0
    while halves == 0 or other is None:
        products = [*value.consumers()]
        if len(products) != 1 or products[0].op_type != "Mul":
            return None
        product = products[0]
        factor = product.inputs[1] if product.inputs[0] is value else product.inputs[0]
        if factor is None:
            return None
        if _is(factor, 0.5):
            halves += 1
        elif (half := _half_of(factor)) is not None:
            halves, other = halves + 1, half
        elif other is None:
            other = factor
        else:
            return None
        value = product.outputs[0]
    return (product, other) if halves == 1 else None


def _half_of(value: ir.Value) -> ir.Value | None:
    """X of ½ x."""
    node = value.producer()
    if node is None or node.op_type != "Mul":
        return None
    factor, source = _constant_factor(node)
    return source if factor == 0.5 else None


def _is(value: ir.Value | None, number: float) -> bool:
    array = graphs.constant(value)
    return array is not None and array.size == 1 and float(array.reshape(())) == number
