"""Why an operator of a quantized file computes in float: what ONNX Runtime's optimizer needs and did not find.

The runtime computes an operator in int8 where it has an integer kernel of it and every tensor around it is quantized; all
others run in float between conversions. What it has was found by asking it: a test builds each operator between Q/DQ pairs.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from compress.quantize.qdq.rewrite_hardswish import original_node_name

WITH_WEIGHTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
INTEGER = frozenset(
    {"Add", "AveragePool", "Clip", "Concat", "Conv", "DepthToSpace", "Expand", "Flatten", "Gather", "Gemm", "GlobalAveragePool",
     "LeakyRelu", "MatMul", "MaxPool", "Mul", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Softmax", "Split", "Squeeze",
     "Transpose", "Unsqueeze"}
)  # fmt: skip
"""Operators that ONNX Runtime's CPU computes, or moves, as integers between Q/DQ pairs."""
FLOAT_RESULT = frozenset({"Gemm", "MatMul"})
"""Those of them whose result may stay float."""
ABSORBED = frozenset({"Relu", "Clip"})
"""Those that have no kernel: they vanish into the range of what they give."""

PRODUCT = "a product of two activations: no weight to store, and the softmax after it is sensitive"
BARE = "the file has no Q/DQ pairs around it"
NORMAL = ": beside layer normalisation only products are quantized"


class FallbackReasons:
    """Reasons by node of one file.

    Args:
        model: Quantized file.
        told: Reasons that are known otherwise, by the name of a node.
    """

    def __init__(self, model: onnx.ModelProto, told: Mapping[str, str] | None = None) -> None:
        graph = model.graph
        self.nodes = graph.node
        self.told = told or {}
        self.constants = {tensor.name for tensor in graph.initializer}
        self.maker = {name: node for node in graph.node for name in node.output}
        normal = any(node.op_type == "LayerNormalization" for node in graph.node)
        ours = any(entry.key == "compress" for entry in model.metadata_props)
        self.bare = BARE + NORMAL * (normal and ours)
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def why(self, number: int) -> str:
        """Why the node in this place runs in float."""
        node = self.nodes[number]
        if (known := self.told.get(original_node_name(node.name))) is not None:
            return known
        operator = node.op_type
        if operator not in INTEGER:
            return f"ONNX Runtime has no int8 kernel of {operator}"
        given = [name for name in node.input if name and not self._constant(name)]
        floats = [name for name in given if not self._dequantized(name)]
        if operator == "MatMul" and len(given) == 2 and floats:
            return PRODUCT
        if floats and any(self._weight(name) for name in node.input):
            return "only its weight is stored as integers; it is multiplied in float"
        if len(floats) == len(given) and not self._quantized(node.output[0]):
            return self.bare
        if floats:
            return f"it reads {self._named(floats[0])} in float"
        if not self._quantized(node.output[0]) and operator not in FLOAT_RESULT:
            return f"its result stays float, and ONNX Runtime has an int8 {operator} only between quantized tensors"
        if operator in ABSORBED:
            return f"{operator} vanishes only into an unsigned range that begins where it cuts off; here the range is wider"
        return "ONNX Runtime did not fuse it with its Q/DQ pairs: their types or steps do not fit its kernel"

    def _constant(self, name: str) -> bool:
        return name in self.constants or self._weight(name) or self._made_by(name) == "Constant"

    def _weight(self, name: str) -> bool:
        """Dequantized from what the file stores."""
        return self._made_by(name) == "DequantizeLinear" and self.maker[name].input[0] in self.constants

    def _dequantized(self, name: str) -> bool:
        return self._made_by(name) == "DequantizeLinear"

    def _quantized(self, name: str) -> bool:
        readers = self.readers.get(name, [])
        return bool(readers) and all(one.op_type == "QuantizeLinear" for one in readers)

    def _made_by(self, name: str) -> str:
        return self.maker[name].op_type if name in self.maker else ""

    def _named(self, name: str) -> str:
        node = self.maker.get(name)
        return "the network's input" if node is None else f"the result of {node.op_type} {node.name}".rstrip()
