"""Parts of an ONNX graph: the nodes that some of its values need, and what depends on some of its values."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

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


def after(nodes: Iterable[onnx.NodeProto], names: Sequence[str]) -> set[str]:
    """These values and all that depend on one of them."""
    found = {*names}
    for node in nodes:  # in the order of their inputs
        if found & {*node.input}:
            found |= {*node.output}
    return found


def read_batch_of(graph: onnx.GraphProto, name: str, others: Container[str]) -> None:
    """Read the size of the batch from an input, in place of other values that have the same, which a part may lack.

    Args:
        graph: The graph; changed in place.
        name: The input.
        others: Names of the other values.
    """
    for node in graph.node:
        places = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "Shape" and (places.get("start", 0), places.get("end")) == (0, 1) and node.input[0] in others:
            node.input[0] = name
