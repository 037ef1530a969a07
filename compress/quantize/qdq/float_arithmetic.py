"""Which operators without weights compute in float, because their neighbours do: a minimum cut.

Products and convolutions compute in int8, operators without integer kernel (Sqrt, Exp, Tanh, a reduction) in float. Others,
such as Add and Mul, can do both. A tensor that both kinds write or read is converted, which rounds it and takes time in
proportion to its number of elements |t|. An int8 sum or product also rounds its result, which decides between equal divisions:

    min over S    Σ |t| over tensors t with operators in S and not in S  +  1/16 Σ |t| over results t of arithmetic not in S

S is the set of operators in float; it contains the float operators and none of the int8 operators. This is a minimum cut (Ford
and Fulkerson 1956): each tensor is an edge a → b of capacity |t|, each of its operators v has edges v → a and b → v that cannot
be cut. Of several minima, S with the fewest operators is taken. So the sums and products of a normalization, GELU or softmax
that a file spells out in single operators stay in float: of a variance E[x²] − E[x]², int8 leaves no correct digit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx_ir as ir
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from compress.backends import onnx_graph as graphs
from compress.quantize.qdq.placement import PLACEMENTS, WEIGHTED, QDQPlacement

BOTH = frozenset(PLACEMENTS["onnxruntime"].operators) - frozenset(WEIGHTED)
"""Operators that run between int8 operators without conversions: integer kernels, or fused into products."""
ROUNDING = frozenset({"Add", "Mul", "HardSwish", "HardSigmoid", "Sigmoid", "AveragePool", "GlobalAveragePool"})
"""Operators whose int8 result is rounded once more; others move values, or are absorbed by a range."""
CONVERSION = 16
"""Cost of a conversion in units of the cost of an int8 result, per element."""
READ_NO_VALUES = frozenset({"Shape", "Size"})
FLOAT, INTEGER = 0, 1
"""Vertices of the operators whose side is known."""
LARGEST_SUM, UNLIMITED = 2**29, 2**30
"""Capacities are int32: their sum is scaled to the first, and an edge that cannot be cut has the second."""
TensorUse = tuple[int, frozenset[int]]
"""Number of elements of a tensor, and the vertices of the operators that write and read it."""


def float_arithmetic(model: ir.Model, placement: QDQPlacement, exclude: Collection[str] = ()) -> tuple[str, ...]:
    """Names of the operators of the placement without weights that compute in float, in graph order.

    Args:
        model: Float network.
        placement: Of the runtime.
        exclude: Names of nodes that compute in float in any case.
    """
    free = [node for node in model.graph if node.op_type in BOTH and str(node.name) not in exclude]
    considered = [node for node in free if node.op_type in placement.operators]
    if not considered:
        return ()
    vertices = dict(zip(map(id, free), range(2, 2 + len(free)), strict=True))
    for node in model.graph:
        in_int8 = node.op_type in WEIGHTED and node.op_type in placement.operators and str(node.name) not in exclude
        vertices.setdefault(id(node), INTEGER if in_int8 else FLOAT)
    counts = _element_counts(model)
    rounded = {vertices[id(node)]: counts.get(str(node.outputs[0].name), 1) for node in free if node.op_type in ROUNDING}
    in_float = _side_of_float(list(_tensor_uses(model, vertices, counts)), rounded, 2 + len(free))
    return tuple(str(node.name) for node in considered if vertices[id(node)] in in_float)


def _element_counts(model: ir.Model) -> dict[str, int]:
    """Elements of each float tensor by name, at least 1; a free axis counts as one element."""
    return {
        str(value.name): int(np.prod([size or 1 for size in graphs.dims(value) or ()], dtype=np.int64))
        for value in graphs.float_tensors(graphs.with_shapes(model))
    }


def _tensor_uses(model: ir.Model, vertices: Mapping[int, int], counts: Mapping[str, int]) -> Iterator[TensorUse]:
    """Float tensors between operators of different vertices."""
    for node in model.graph:
        for value in node.outputs:
            readers = [reader for reader in value.consumers() if reader.op_type not in READ_NO_VALUES]
            users = frozenset(vertices[id(user)] for user in (node, *readers) if id(user) in vertices)
            if len(users) > 1 and str(value.name) in counts:
                yield counts[str(value.name)], users


def _side_of_float(uses: list[TensorUse], rounded: Mapping[int, int], size: int) -> set[int]:
    """Vertices on the side of `FLOAT` of the minimum cut with the fewest vertices on it.

    Args:
        uses: Tensors.
        rounded: Number of elements that an operator rounds in int8, by its vertex.
        size: Number of vertices that are operators.
    """
    total = CONVERSION * sum(count for count, _ in uses) + sum(rounded.values())
    scale = min(1.0, LARGEST_SUM / max(1, total))
    edges = [(FLOAT, vertex, max(1, round(count * scale))) for vertex, count in rounded.items()]
    for index, (count, users) in enumerate(uses):
        entry, end = size + 2 * index, size + 2 * index + 1
        edges.append((entry, end, max(1, round(CONVERSION * count * scale))))
        for user in sorted(users):
            edges += [(user, entry, UNLIMITED), (end, user, UNLIMITED)]
    if not edges:
        return set()
    rows, columns, capacities = (np.array(column, np.int32) for column in zip(*edges, strict=True))
    order = size + 2 * len(uses)
    graph = csr_array((capacities, (rows, columns)), shape=(order, order), dtype=np.int32)
    residual = csr_array(graph - maximum_flow(graph, FLOAT, INTEGER).flow)
    residual.eliminate_zeros()
    reached = breadth_first_order(residual, FLOAT, return_predecessors=False)
    return {int(vertex) for vertex in reached} - {FLOAT}
