"""Q/DQ nodes at MaxPool: the pool reads integers."""

from __future__ import annotations

import onnx


def quantize_before_maxpool(graph: onnx.GraphProto) -> None:
    """Quantize before a MaxPool instead of after it, in place: x → MaxPool → Q → DQ becomes x → Q → DQ → MaxPool.

    Rounding is monotone, so max_i Q(x_i) = Q(max_i x_i) and the results stay the same. The convolution before the pool can
    write int8, and the pool reads a quarter of the bytes.
    """
    producer = {name: node for node in graph.node for name in node.output}
    for pool in [node for node in graph.node if node.op_type == "MaxPool" and len(node.output) == 1]:
        readers = [node for node in graph.node if pool.output[0] in node.input]
        if len(readers) != 1 or readers[0].op_type != "QuantizeLinear":
            continue
        (quantize,) = readers
        dequantize = [node for node in graph.node if quantize.output[0] in node.input]
        x, y = pool.input[0], pool.output[0]
        if (
            x not in producer
            or producer[x].op_type == "DequantizeLinear"
            or any(node.op_type != "DequantizeLinear" for node in dequantize)
        ):
            continue
        for node in (quantize, *dequantize):
            graph.node.remove(node)
        exact = f"{y}_exact"
        position = list(graph.node).index(pool)
        for name in [node.output[0] for node in dequantize]:
            for node in graph.node:
                node.input[:] = [y if read == name else read for read in node.input]
        quantize.input[0], dequantize[0].output[0], pool.input[0] = x, exact, exact
        graph.node.insert(position, quantize)
        graph.node.insert(position + 1, dequantize[0])
