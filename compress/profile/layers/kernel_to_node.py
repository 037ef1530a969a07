"""Map each kernel of ONNX Runtime to nodes of the ONNX file, and each node to a torch module.

The runtime fuses nodes and names the kernel after one of them or after a tensor, with a suffix. So every node and tensor gets a
name with the node's index before the runtime loads the graph; the name of a kernel then contains indices of its nodes. A node
whose index is in no kernel name was fused into a neighbour and belongs to its kernel.

    Conv ─► Clip ─► Conv       kernels `…1__nchwc` and `…2__nchwc`: node 0 belongs to the kernel named after node 1's output
     0       1       2
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from compress.backends.node_names import FUSED, module_path
from compress.backends.read_graph import all_nodes

MARK = re.compile(r"origin(\d+)_")
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "ConvInteger", "MatMulInteger", "MatMulNBits"})
CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
FUSED_ACTIVATIONS = frozenset(
    {"Relu", "Clip", "LeakyRelu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "BatchNormalization", "QuantizeLinear"}
)
"""Operators that runtimes fuse into the preceding convolution or matrix product."""


@dataclass(frozen=True)
class NodeOrigin:
    """A node of the ONNX file and its torch module.

    Attributes:
        name: Name in the file; empty for Q/DQ pairs, whose names are omitted to save bytes.
        operator: ONNX operator type.
        module: Path of the torch module that the node was exported from; empty if the file does not contain it.
    """

    name: str
    operator: str
    module: str


def node_origins(model: onnx.ModelProto) -> tuple[NodeOrigin, ...]:
    """Nodes of the main graph in order, with their torch modules.

    A fused node whose name and weights say nothing, such as a SkipLayerNormalization that another tool made, has the module of
    the node before it.
    """
    indexed = ir.from_proto(model)
    ours = "compress" in indexed.metadata_props
    modules: dict[ir.Node, str] = {}
    for node in indexed.graph:
        modules[node] = module_path(node, ours=ours)
        if node.domain == FUSED and not modules[node]:
            before = (value.producer() for value in node.inputs if value is not None)
            modules[node] = next((modules.get(producer, "") for producer in before if producer is not None), "")
    return tuple(NodeOrigin(node.name or "", node.op_type, module) for node, module in modules.items())


def tag_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose node and tensor names contain the index of their node; inputs and outputs of the graph keep their names.

    Names of nodes in a branch or loop contain the index of the If or Loop node of the main graph.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    interface = {value.name for value in (*copy.graph.input, *copy.graph.output)}
    renamed: dict[str, str] = {}
    for index, node in enumerate(copy.graph.node):
        node.name = f"origin{index}_"
        for position, name in enumerate(node.output):
            if name and name not in interface:
                renamed[name] = node.output[position] = f"origin{index}_{position}"
    for node in all_nodes(copy.graph):
        node.input[:] = [renamed.get(name, name) for name in node.input]
    for index, node in enumerate(copy.graph.node):
        inner_nodes = (
            inner for attribute in node.attribute for graph in (attribute.g, *attribute.graphs) for inner in all_nodes(graph)
        )
        for inner_index, inner in enumerate(inner_nodes):
            inner.name = f"origin{index}_{inner_index}_"
    copy.graph.ClearField("value_info")
    return copy


def nodes_by_kernel(model: onnx.ModelProto, optimized: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Indices of the nodes of each kernel, by name of the kernel; empty for a kernel that the runtime added.

    Args:
        model: Tagged graph, see `tag_nodes`.
        optimized: Graph after the optimizations of the runtime.
    """
    producers = {name: index for index, node in enumerate(model.graph.node) for name in node.output if name}
    nodes: dict[str, set[int]] = {}
    for kernel in all_nodes(optimized.graph):
        tagged = {int(index) for name in (kernel.name, *kernel.output) for index in MARK.findall(name)}
        nodes[kernel.name] = tagged | {producers[name] for name in kernel.output if name in producers}
    owner: dict[int, str] = {}
    for name, indices in nodes.items():
        for index in indices:
            owner.setdefault(index, name)
    fused = _FusedNodes(model, producers, owner, {kernel.name: kernel.op_type for kernel in all_nodes(optimized.graph)})
    for index in fused.assign():
        nodes[owner[index]].add(index)
    return {name: tuple(sorted(indices)) for name, indices in nodes.items()}


class _FusedNodes:
    """Assigns a kernel to every node whose index is in no kernel name.

    Args:
        model: Tagged graph.
        producers: Index of the node that produces each tensor.
        owner: Kernel by node index; completed by `assign`.
        operators: Operator of each kernel.
    """

    def __init__(
        self, model: onnx.ModelProto, producers: Mapping[str, int], owner: dict[int, str], operators: Mapping[str, str]
    ) -> None:
        self.nodes = model.graph.node
        self.owner = owner
        self.operators = operators
        self.predecessors = [[producers[name] for name in node.input if name in producers] for node in self.nodes]
        self.successors: dict[int, list[int]] = defaultdict(list)
        for index, predecessors in enumerate(self.predecessors):
            for predecessor in predecessors:
                self.successors[predecessor].append(index)

    def assign(self) -> list[int]:
        """Complete `owner` and return the indices of the assigned nodes."""
        assigned = []
        for index in range(len(self.nodes)):  # in graph order: the kernel of a fused node is assigned to the nodes after it too
            if index in self.owner:
                continue
            kernel = self._kernel_of(index)
            if kernel is not None:
                self.owner[index] = kernel
                assigned.append(index)
        return assigned

    def _kernel_of(self, index: int) -> str | None:
        predecessors = sorted(self.predecessors[index], reverse=True)
        before = next((self.owner[predecessor] for predecessor in predecessors if predecessor in self.owner), None)
        node = self.nodes[index]
        if node.op_type in FUSED_ACTIVATIONS and before and self._multiplies(before):
            return before
        return self._first_kernel_after(index, through_weights=node.op_type in CONVERSIONS or before is None) or before

    def _first_kernel_after(self, index: int, *, through_weights: bool) -> str | None:
        """The first kernel downstream.

        Args:
            index: Index of the node.
            through_weights: Whether to continue past an operator with weights.
        """
        while index not in self.owner:
            if not self.successors[index]:
                return None
            index = self.successors[index][0]
            if self.nodes[index].op_type in WEIGHTED and not through_weights:
                return None
        return self.owner[index]

    def _multiplies(self, kernel: str) -> bool:
        return any(part in self.operators.get(kernel, "") for part in ("Conv", "Gemm", "MatMul"))
