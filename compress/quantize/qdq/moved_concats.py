"""Concatenations whose result is shuffled or divided before int8 operators read it, as in ShuffleNet.

    concatenation ─ reshape ─ transpose ─ reshape ─ split ─┬─ convolution ─ … ─┐
                                                           └───────────────────┴─ concatenation ─ …

With one scale for all tensors of such a chain, and Q/DQ pairs at the inputs of its concatenations, OpenVINO moves bytes instead
of floats and rounds once, at the first of them. Elsewhere a pair at a concatenation saves nothing there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import onnx_ir as ir
from scipy.cluster.hierarchy import DisjointSet

from compress.backends import onnx_graph as graphs

CONCAT = "Concat"
MOVES = ("Reshape", "Transpose", "Split")
"""Operators that only move the values of their first input."""
SHUFFLES = ("Transpose", "Split")


class MovedConcats(NamedTuple):
    """Chains of a network.

    Attributes:
        nodes: Names of their concatenations.
        groups: Names of the tensors of each chain.
    """

    nodes: frozenset[str]
    groups: tuple[frozenset[str], ...]

    def tensors(self) -> Iterator[str]:
        """Names of all tensors, those of one chain after those of the other."""
        for group in self.groups:
            yield from sorted(group)

    def share(self, ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        """The ranges, with that of a whole chain for each of its tensors."""
        shared = dict(ranges)
        for group in self.groups:
            known = [ranges[name] for name in group if name in ranges]
            if known:
                whole = (min(low for low, _ in known), max(high for _, high in known))
                shared |= {name: whole for name in group if name in ranges}
        return shared


def find_moved_concats(model: ir.Model, operators: Collection[str]) -> MovedConcats:
    """Chains that only int8 operators read.

    Args:
        model: Float network.
        operators: Operator types that compute in int8.
    """
    inside = [node for node in model.graph if node.op_type in (CONCAT, *MOVES)]
    sets: DisjointSet = DisjointSet()
    for node in inside:
        first, *others = _moved(node)
        for value in (first, *others):
            sets.add(value)
            sets.merge(first, value)
    nodes, groups = set[str](), list[frozenset[str]]()
    for values in sets.subsets():
        chain = [node for node in inside if node.outputs[0] in values]
        concats = {str(node.name) for node in chain if node.op_type == CONCAT}
        if concats and any(node.op_type in SHUFFLES for node in chain) and _is_read_in_int8(values, operators):
            nodes |= concats
            groups.append(frozenset(str(value.name) for value in values))
    return MovedConcats(frozenset(nodes), tuple(groups))


def calibrated_tensors(model: ir.Model, operators: Collection[str]) -> list[str]:
    """Tensors of such chains whose ranges are needed: the inputs of their concatenations."""
    chains = find_moved_concats(model, operators)
    return [name for node in model.graph if str(node.name) in chains.nodes for name in graphs.input_names(node)]


def _moved(node: ir.Node) -> list[ir.Value]:
    """Tensors with the values that a node moves: its inputs, without sizes, and its outputs."""
    inputs = node.inputs if node.op_type == CONCAT else node.inputs[:1]
    return [value for value in (*inputs, *node.outputs) if value is not None]


def _is_read_in_int8(values: Collection[ir.Value], operators: Collection[str]) -> bool:
    """Whether int8 operators alone read what leaves a chain, and nothing of it is a constant or a result of the network."""
    allowed = (CONCAT, *MOVES, *operators)
    return all(
        not value.is_graph_output()
        and not value.is_initializer()
        and all(node.op_type in allowed and (node.op_type not in MOVES or index == 0) for node, index in value.uses())
        for value in values
    )
