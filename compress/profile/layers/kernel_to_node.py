"""Which nodes of an ONNX file each kernel of ONNX Runtime came from, and which torch module those came from.

The runtime fuses nodes and names the result after one of them or after a tensor, with suffixes of its own. So before it
sees the graph, every node and tensor gets a name that holds the node's number; what the runtime then calls its kernels
tells the origin of each. Nodes that no kernel names were fused into a neighbour, whose they become.

    Conv ─► Clip ─► Conv       kernels  `…1__nchwc`, `…2__nchwc`       0 is fused into 1, for 1 is what its output was called
     0       1       2
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from compress.backends import onnx_cleanup

MARK = re.compile(r"origin(\d+)_")
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})
FUSED_ACTIVATIONS = frozenset(
    {"Relu", "Clip", "LeakyRelu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "BatchNormalization", "QuantizeLinear"}
)
"""Operators that runtimes fuse into the convolution or product before them."""


@dataclass(frozen=True)
class NodeOrigin:
    """One node of the file.

    Attributes:
        name: As in the file; empty for Q/DQ pairs, whose names are left out to save bytes.
        operator: ONNX operator type.
        module: Path of the torch module that it came from; empty where the file does not tell.
    """

    name: str
    operator: str
    module: str


def node_origins(model: onnx.ModelProto) -> tuple[NodeOrigin, ...]:
    """Every node of the main graph, in order, with the torch module that it came from."""
    weights = frozenset(tensor.name for tensor in model.graph.initializer)
    ours = any(entry.key == "compress" for entry in model.metadata_props)
    return tuple(
        NodeOrigin(node.name, node.op_type, onnx_cleanup.module_path(node, weights, ours=ours)) for node in model.graph.node
    )


def tag_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose node and tensor names hold the number of their node; inputs and outputs of the graph keep their names."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = {value.name for value in (*copy.graph.input, *copy.graph.output)}
    renamed: dict[str, str] = {}
    for number, node in enumerate(copy.graph.node):
        node.name = f"origin{number}_"
        for place, name in enumerate(node.output):
            if name and name not in kept:
                renamed[name] = node.output[place] = f"origin{number}_{place}"
    for node in onnx_cleanup.all_nodes(copy.graph):
        node.input[:] = [renamed.get(name, name) for name in node.input]
    copy.graph.ClearField("value_info")
    return copy


def nodes_by_kernel(model: onnx.ModelProto, optimized: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Numbers of the nodes behind each kernel, by the kernel's name; none for one that the runtime added.

    Args:
        model: The marked graph.
        optimized: What the runtime made of it.
    """
    makers = {name: number for number, node in enumerate(model.graph.node) for name in node.output if name}
    named: dict[str, set[int]] = {}
    for node in optimized.graph.node:
        found = {int(number) for text in (node.name, *node.output) for number in MARK.findall(text)}
        named[node.name] = found | {makers[name] for name in node.output if name in makers}
    owner: dict[int, str] = {}
    for kernel, numbers in named.items():
        for number in numbers:
            owner.setdefault(number, kernel)
    for number in _FusedNodes(model, makers, owner, {node.name: node.op_type for node in optimized.graph.node}).settle():
        named[owner[number]].add(number)
    return {kernel: tuple(sorted(numbers)) for kernel, numbers in named.items()}


class _FusedNodes:
    """Finds a kernel for every node that no kernel is named after."""

    def __init__(
        self, model: onnx.ModelProto, makers: Mapping[str, int], owner: dict[int, str], operators: Mapping[str, str]
    ) -> None:
        self.nodes = model.graph.node
        self.owner = owner
        self.operators = operators
        self.before = [[makers[name] for name in node.input if name in makers] for node in self.nodes]
        self.after: dict[int, list[int]] = defaultdict(list)
        for number, found in enumerate(self.before):
            for earlier in found:
                self.after[earlier].append(number)

    def settle(self) -> list[int]:
        """Enter owners; the numbers of the nodes that got one."""
        lost = [number for number in range(len(self.nodes)) if number not in self.owner]
        found = []
        for number in lost:  # in graph order, so that an owner passes down a chain
            kernel = self._kernel(number)
            if kernel is not None:
                self.owner[number] = kernel
                found.append(number)
        return found

    def _kernel(self, number: int) -> str | None:
        earlier = next((self.owner[one] for one in sorted(self.before[number], reverse=True) if one in self.owner), None)
        node = self.nodes[number]
        if node.op_type in FUSED_ACTIVATIONS and earlier and self._multiplies(earlier):
            return earlier
        return self._later(number, through_weights=node.op_type in CONVERSIONS or earlier is None) or earlier

    def _later(self, number: int, *, through_weights: bool) -> str | None:
        """The first kernel down the line; only conversions go along with the weighted operator that reads them."""
        while number not in self.owner:
            if not self.after[number]:
                return None
            number = self.after[number][0]
            if self.nodes[number].op_type in WEIGHTED and not through_weights:
                return None
        return self.owner[number]

    def _multiplies(self, kernel: str) -> bool:
        return any(part in self.operators.get(kernel, "") for part in ("Conv", "Gemm", "MatMul"))
