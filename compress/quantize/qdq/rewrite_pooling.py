"""Q/DQ nodes at MaxPool: the pool reads integers."""

from __future__ import annotations

import onnx_ir as ir


def quantize_before_maxpool(model: ir.Model) -> None:
    """Quantize before a MaxPool instead of after it, in place: x → MaxPool → Q → DQ becomes x → Q → DQ → MaxPool.

    Rounding is monotone, so max_i Q(x_i) = Q(max_i x_i) and the results stay the same. The convolution before the pool can
    write int8, and the pool reads a quarter of the bytes.
    """
    graph = model.graph
    for pool in [node for node in graph if node.op_type == "MaxPool" and len(node.outputs) == 1]:
        x, y = pool.inputs[0], pool.outputs[0]
        readers = y.consumers()
        if x is None or y.is_graph_output() or [node.op_type for node in readers] != ["QuantizeLinear"]:
            continue
        (quantize,) = readers
        dequantize = quantize.outputs[0].consumers()
        source = x.producer()
        if (
            source is None
            or source.op_type == "DequantizeLinear"
            or any(node.op_type != "DequantizeLinear" or node.outputs[0].is_graph_output() for node in dequantize)
        ):
            continue
        for node in dequantize:
            node.outputs[0].replace_all_uses_with(y)
        quantize.replace_input_with(0, x)
        graph.remove([quantize, *dequantize])
        graph.insert_before(pool, [quantize, dequantize[0]])
        dequantize[0].outputs[0].name = f"{y.name}_exact"
        pool.replace_input_with(0, dequantize[0].outputs[0])
