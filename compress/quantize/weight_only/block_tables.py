"""Embedding tables with integers in blocks, which `GatherBlockQuantized` of ONNX Runtime looks up.

    E[i, d] ≈ s[i, g] (q[i, d] − z[i, g]),   g = ⌊d / block⌋

The integers may be those of a tied output layer, (V, G, bytes of a block); a Reshape to rows joins both, and the file has them
once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.quantize.weight_only.blockwise import BlockwiseWeight

DOMAIN, OPERATOR = "com.microsoft", "GatherBlockQuantized"


class StoredWeight(NamedTuple):
    """A matrix in a graph.

    Attributes:
        weight: The matrix.
        constants: Packed integers, scales and, unless in the middle of the range, zero points.
    """

    weight: BlockwiseWeight
    constants: Sequence[ir.Value]

    @property
    def block(self) -> int:
        """Inputs that share a scale."""
        return int(self.weight.q.shape[2])


def store(model: ir.Model, prefix: str, weight: BlockwiseWeight, *, symmetric: bool) -> StoredWeight:
    """Add a matrix to a graph as constants."""
    integers, zero_points = weight.packed()
    arrays = {"q": integers, "s": weight.s} | ({} if symmetric else {"z": zero_points})
    values = [graphs.add_initializer(model, f"{prefix}_{part}", np.ascontiguousarray(array)) for part, array in arrays.items()]
    return StoredWeight(weight, values)


def look_up_blocks(model: ir.Model, tables: Mapping[str, StoredWeight]) -> None:
    """Make lookups read integers in place of float tables, in place.

    Args:
        model: The network.
        tables: Integers by name of the float table, which is removed.
    """
    for name, stored in tables.items():
        table = model.graph.initializers[name]
        integers, *others = stored.constants
        shape = graphs.add_initializer(model, f"{name}_rows", np.array([len(stored.weight.q), -1], np.int64))
        rows = graphs.make_node("Reshape", [integers, shape], [f"{name}_integers"])
        model.graph.insert_before(model.graph[0], rows)
        for node in table.consumers():
            _replace(model, node, [rows.outputs[0], node.inputs[1], *others], stored)
        del model.graph.initializers[name]


def _replace(model: ir.Model, node: ir.Node, inputs: Sequence[ir.Value | None], stored: StoredWeight) -> None:
    """Replace a Gather; columns of padding are cut off."""
    y = node.outputs[0]
    name = str(y.name)
    settings = {"bits": stored.weight.bits, "block_size": stored.block, "quantize_axis": 1, "gather_axis": 0}
    result = ir.Value(name=f"{name}_blocks", type=y.type)
    nodes = [ir.node(OPERATOR, inputs, settings, domain=DOMAIN, name=str(node.name), outputs=[result])]
    if stored.weight.q.shape[1] * stored.block > stored.weight.inputs:
        limits = [
            graphs.add_initializer(model, f"{name}_{part}", np.array([value], np.int64))
            for part, value in (("start", 0), ("end", stored.weight.inputs), ("axis", -1))
        ]
        nodes.append(graphs.make_node("Slice", [result, *limits], [f"{name}_cut"]))
        result = nodes[-1].outputs[0]
    model.graph.insert_before(node, nodes)
    result.type, result.shape = y.type, y.shape
    y.name = f"{name}_float"
    y.replace_all_uses_with(result, replace_graph_outputs=True)
    result.name = name
    model.graph.remove(node, safe=True)
