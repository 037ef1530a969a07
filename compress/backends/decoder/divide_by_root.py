"""Write RMS normalisation in the form that ONNX Runtime fuses when it loads a file.

    x · (1 / √(mean x² + ε)) · w   →   x / √(mean x² + ε) · w

The runtime makes one `SimplifiedLayerNormalization` of the second form, and with the sum before it one
`SkipSimplifiedLayerNormalization`; the first form stays seven operators, which cost more than they compute for one token.
"""

from __future__ import annotations

import onnx_ir as ir

from compress.backends import onnx_graph as graphs


def divide_by_root(model: ir.Model) -> int:
    """Replace products with the reciprocal of a square root by divisions, in place.

    Args:
        model: The network.

    Returns:
        How many were replaced.
    """
    count = 0
    for node in [node for node in model.graph if node.op_type == "Reciprocal" and node.domain == ""]:
        source, root = node.inputs[0], node.outputs[0]
        before = None if source is None else source.producer()
        readers = [use.node for use in root.uses()]
        if before is None or before.op_type != "Sqrt" or len(readers) != 1 or readers[0].op_type != "Mul":
            continue
        product = readers[0]
        other = next((value for value in product.inputs if value is not root), None)
        result = product.outputs[0]
        name = str(result.name)
        divide = graphs.make_node("Div", [other, source], [f"{name}_quotient"], f"{product.name}_quotient")
        divide.outputs[0].type, divide.outputs[0].shape = result.type, result.shape
        model.graph.insert_before(product, divide)
        result.replace_all_uses_with(divide.outputs[0], replace_graph_outputs=True)
        model.graph.remove(product, safe=True)
        model.graph.remove(node, safe=True)
        divide.outputs[0].name = name
        count += 1
    return count
