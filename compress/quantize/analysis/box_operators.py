"""Operators of a detector of two stages that stay in float: those that choose and decode boxes.

RoIAlign reads the boxes of the proposals, and a step of int8 is several pixels. Objectness and offsets of the first stage come
from layers with weights, which are int8; all operators between these and RoIAlign compute in float, and so do those behind the
last layers with weights, whose outputs depend on the proposals and cannot be compared place by place.
"""

from __future__ import annotations

import onnx_ir as ir

from compress.quantize.qdq.placement import WEIGHTED

REGIONS = "RoiAlign"
"""Operator that reads maps at boxes; the boxes are its inputs after the first."""


def box_operators(model: ir.Model) -> tuple[str, ...]:
    """Names of the operators without weights that compute the boxes of `RoiAlign`, and of those behind the last weights.

    Args:
        model: Float network; one without `RoiAlign` has none.
    """
    regions = [node for node in model.graph if node.op_type == REGIONS]
    if not regions:
        return ()
    before: set[ir.Node] = set()
    pending = [value.producer() for node in regions for value in node.inputs[1:] if value is not None]
    while pending:
        node = pending.pop()
        if node is None or node in before or node.op_type in WEIGHTED:
            continue
        before.add(node)
        pending += [value.producer() for value in node.inputs if value is not None]
    leads_to_weights: set[ir.Node] = set()
    for node in reversed(list(model.graph)):
        readers = [reader for output in node.outputs for reader in output.consumers()]
        if any(reader.op_type in WEIGHTED or reader in leads_to_weights for reader in readers):
            leads_to_weights.add(node)
    return tuple(
        str(node.name)
        for node in model.graph
        if node.op_type not in WEIGHTED and (node in before or node not in leads_to_weights)
    )
