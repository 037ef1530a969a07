"""The part of an ONNX graph that some of its values need."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import helper


def graph_part(
    model: onnx.ModelProto,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    wanted: Sequence[str],
    stop: Sequence[str] = (),
) -> onnx.ModelProto:
    """The nodes that values need, with their weights.

    Args:
        model: The whole network.
        inputs: Inputs of the part.
        outputs: Outputs of the part.
        wanted: The values.
        stop: Values that are inputs, so that their nodes are not needed.
    """
    needed, kept = {*wanted} - {*stop}, []
    for node in reversed(model.graph.node):
        if needed & {*node.output}:
            kept.append(node)
            needed |= {name for name in node.input if name and name not in stop}
    weights = [each for each in model.graph.initializer if each.name in needed]
    graph = helper.make_graph(kept[::-1], model.graph.name, list(inputs), list(outputs), weights)
    part = helper.make_model(graph, opset_imports=model.opset_import, functions=model.functions, ir_version=model.ir_version)
    part.metadata_props.extend(model.metadata_props)
    return part
