"""A Q/DQ file in float: weights q · s, and a Clip where only the range of a Q/DQ pair replaced an activation function.

For converters that do not read Q/DQ pairs; the ranges are returned beside the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compress.backends import onnx_files

PRODUCTS = ("Conv", "Gemm", "MatMul")
CLIPPED = ("Conv", "Gemm", "MatMul", "Add", "Mul", "BatchNormalization")
"""Operators whose negative outputs the range of a Q/DQ pair may cut."""


@dataclass(frozen=True)
class QuantizedProduct:
    """Integers of one product.

    Attributes:
        weights: Its weights q, int8, in the layout of the file.
        scales: Scale s of each output channel, or one for all.
        largest: Largest absolute value that its quantized input can have.
    """

    weights: np.ndarray
    scales: np.ndarray
    largest: float


@dataclass
class FloatFile:
    """A file without Q/DQ pairs.

    Attributes:
        model: The float network.
        products: Quantized products by output of their node.
    """

    model: onnx.ModelProto
    products: dict[str, QuantizedProduct] = field(default_factory=dict)


def without_qdq(source: Path) -> FloatFile:
    """Remove the Q/DQ pairs of a file.

    Args:
        source: ONNX file with Q/DQ pairs, one scale for each activation.
    """
    model = onnx_files.load(source)
    return _Remover(model).run()


class _Remover:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.producers = {output: node for node in model.graph.node for output in node.output}
        self.names: dict[str, str] = {}
        """Name in the float file of a tensor."""
        self.weights: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.largest: dict[str, float] = {}
        self.floats: dict[str, np.ndarray] = {}
        self.nodes: list[onnx.NodeProto] = []

    def run(self) -> FloatFile:
        result = FloatFile(self.model)
        for node in self.model.graph.node:
            if node.op_type == "QuantizeLinear":
                self._quantize(node)
            elif node.op_type == "DequantizeLinear":
                self._dequantize(node)
            else:
                if node.op_type in PRODUCTS and node.input[1] in self.weights and node.input[0] in self.largest:
                    values, scales = self.weights[node.input[1]]
                    result.products[node.output[0]] = QuantizedProduct(values, scales, self.largest[node.input[0]])
                copy = onnx.NodeProto()
                copy.CopyFrom(node)
                copy.input[:] = [self.names.get(name, name) for name in node.input]
                self.nodes.append(copy)
        self._finish()
        return result

    def _quantize(self, node: onnx.NodeProto) -> None:
        scale, point = float(self.arrays[node.input[1]].item()), self._point(node)
        limits = np.iinfo(point.dtype)
        low, high = ((limit - int(point.item())) * scale for limit in (int(limits.min), int(limits.max)))
        name = self.names.get(node.input[0], node.input[0])
        producer = self.producers.get(node.input[0])
        if low == 0.0 and producer is not None and producer.op_type in CLIPPED:
            bounds = [f"{node.output[0]}_{end}" for end in ("low", "high")]
            self.floats |= dict(zip(bounds, (np.array(low, np.float32), np.array(high, np.float32)), strict=True))
            clipped = f"{node.output[0]}_clipped"
            self.nodes.append(helper.make_node("Clip", [name, *bounds], [clipped], name=clipped))
            name = clipped
        self.names[node.output[0]] = name
        self.largest[node.output[0]] = max(abs(low), abs(high))

    def _dequantize(self, node: onnx.NodeProto) -> None:
        source, output = node.input[0], node.output[0]
        if source not in self.arrays:
            self.names[output] = self.names.get(source, source)
            self.largest[output] = self.largest[source]
            return
        values, scale, point = self.arrays[source], self.arrays[node.input[1]], self._point(node)
        axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
        around = [1] * values.ndim
        if scale.size > 1:
            around[axis] = scale.size
        integers = values.astype(np.float64) - (
            point.astype(np.float64).reshape(around) if point.size > 1 else float(point.item())
        )
        self.floats[output] = (integers * scale.reshape(around)).astype(np.float32)
        if values.dtype == np.int8 and not point.any():
            self.weights[output] = (values, scale.reshape(-1))

    def _point(self, node: onnx.NodeProto) -> np.ndarray:
        if len(node.input) > 2 and node.input[2]:
            point: np.ndarray = self.arrays[node.input[2]]
            return point
        return np.zeros(1, self.arrays[node.input[0]].dtype if node.input[0] in self.arrays else np.uint8)

    def _finish(self) -> None:
        graph = self.model.graph
        for output in graph.output:
            if output.name in self.names:
                self.nodes.append(helper.make_node("Identity", [self.names[output.name]], [output.name]))
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        kept += [numpy_helper.from_array(np.asarray(array), name) for name, array in self.floats.items() if name in used]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(kept)


def float_weights(model: onnx.ModelProto) -> Mapping[str, np.ndarray]:
    """Weights of each product of a float file, (out, …), by output of its node; a MatMul has (in, out) in the file."""
    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type not in PRODUCTS or node.input[1] not in arrays:
            continue
        weight = numpy_helper.to_array(arrays[node.input[1]])
        transposed = node.op_type == "MatMul" or (
            node.op_type == "Gemm" and not any(each.name == "transB" and each.i for each in node.attribute)
        )
        found[node.output[0]] = np.ascontiguousarray(weight.T) if transposed and weight.ndim == 2 else weight
    return found
