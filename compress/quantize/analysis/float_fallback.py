"""Why a node of a quantized file computes in float in ONNX Runtime.

The runtime computes a node in int8 if it has an integer kernel for the operator and every tensor around the node is quantized.
All other nodes run in float between conversions. A test checks `INTEGER`: it runs each operator between Q/DQ pairs.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx_ir as ir

from compress.core.fact import Fact
from compress.quantize.qdq.rewrite_hardswish import original_node_name

WITH_WEIGHTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
INTEGER = frozenset(
    {"Add", "AveragePool", "Clip", "Concat", "Conv", "DepthToSpace", "Expand", "Flatten", "Gather", "Gemm", "GlobalAveragePool",
     "LeakyRelu", "MatMul", "MaxPool", "Mul", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Softmax", "Split", "Squeeze",
     "Transpose", "Unsqueeze"}
)  # fmt: skip
"""Operators that ONNX Runtime computes as integers on a CPU between Q/DQ pairs."""
FLOAT_RESULT = frozenset({"Gemm", "MatMul"})
"""Operators of `INTEGER` whose output may stay float."""
STORED_INTEGERS = frozenset(
    {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.INT2, ir.DataType.UINT2}
)
"""Types of quantized weights."""
ABSORBED = frozenset({"Relu", "Clip"})
"""Operators of `INTEGER` without kernel: the range of the quantized output replaces them."""


class FallbackReasons:
    """Reasons for float nodes of one file.

    Args:
        model: Quantized model.
        known: Recorded reasons, by name of the node.
    """

    def __init__(self, model: onnx.ModelProto, known: Mapping[str, Fact] | None = None) -> None:
        self.known = known or {}
        self.nodes = tuple(ir.from_proto(model).graph)
        has_norm = any(node.op_type == "LayerNormalization" for node in self.nodes)
        is_ours = any(entry.key == "compress" for entry in model.metadata_props)
        self.beside_layer_norm = has_norm and is_ours

    def explain(self, index: int) -> Fact:
        """Why the node with this index runs in float."""
        node = self.nodes[index]
        name, operator = str(node.name), node.op_type
        if (known := self.known.get(original_node_name(name))) is not None:
            return known
        if operator not in INTEGER:
            return Fact.of("quantize.float_no_kernel", name, operator=operator)
        computed = [value for value in node.inputs if value is not None and not _is_constant(value)]
        floats = [value for value in computed if not is_dequantized(value)]
        has_float_result = not _is_quantized(node.outputs[0])
        if operator == "MatMul" and len(computed) == 2 and floats:
            return Fact.of("quantize.float_activation_product", name)
        if floats and any(is_quantized_weight(value) for value in node.inputs):
            return Fact.of("quantize.float_weight_only", name)
        if len(floats) == len(computed) and has_float_result:
            return Fact.of(
                "quantize.float_beside_layer_normalization" if self.beside_layer_norm else "quantize.float_without_qdq", name
            )
        if floats:
            source = floats[0].producer()
            return Fact.of(
                "quantize.float_input",
                name,
                source_operator=source.op_type if source else None,
                source=str(source.name or "") if source else None,
            )
        if has_float_result and operator not in FLOAT_RESULT:
            return Fact.of("quantize.float_result", name, operator=operator)
        if operator in ABSORBED:
            return Fact.of("quantize.float_range_too_wide", name, operator=operator)
        return Fact.of("quantize.float_not_fused", name)


def _is_constant(value: ir.Value) -> bool:
    producer = value.producer()
    is_constant_node = producer is not None and producer.op_type == "Constant"
    return value.is_initializer() or is_constant_node or is_quantized_weight(value)


def is_quantized_weight(value: ir.Value | None) -> bool:
    """Whether a tensor is dequantized from an initializer, by a DequantizeLinear or a Cast and constant factors or terms."""
    producer = None if value is None else value.producer()
    while producer is not None and producer.op_type in ("Mul", "Sub") and any(map(_is_initializer, producer.inputs)):
        computed = [source for source in producer.inputs if not _is_initializer(source)]
        producer = computed[0].producer() if computed and computed[0] is not None else None
    return producer is not None and producer.op_type in ("DequantizeLinear", "Cast") and _is_integers(producer.inputs[0])


def _is_initializer(value: ir.Value | None) -> bool:
    return value is not None and value.is_initializer()


def _is_integers(value: ir.Value | None) -> bool:
    """Whether a tensor is an initializer of 8 bits or fewer."""
    return value is not None and value.is_initializer() and value.dtype in STORED_INTEGERS


def is_dequantized(value: ir.Value) -> bool:
    """Whether a tensor is the result of a DequantizeLinear."""
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _is_quantized(value: ir.Value) -> bool:
    """Whether all readers of a tensor quantize it."""
    readers = value.consumers()
    return bool(readers) and all(node.op_type == "QuantizeLinear" for node in readers)
