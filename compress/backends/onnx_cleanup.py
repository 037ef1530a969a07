"""Rewrites of exported ONNX files, and the torch module that a node came from.

`strip` removes what no runtime reads and stores equal weights once; `shorten_names` shortens the names of tensors;
`reducemean_to_gap` writes spatial means as pooling.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator

import onnx

NAME_SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata key under which torch's exporter writes the modules around an operator: outermost first, the operator last."""


def strip(model: onnx.ModelProto) -> None:
    """Remove what no runtime reads: exporter traces, documentation, inferred shapes, unused and duplicate initializers."""
    graph = model.graph
    parts = (graph, *graph.node, *graph.input, *graph.output, *graph.initializer)
    model.ClearField("doc_string")
    for part in parts:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    graph.ClearField("value_info")
    _share_initializers(graph)


def reducemean_to_gap(model: onnx.ModelProto) -> None:
    """Replace ReduceMean over height and width by GlobalAveragePool, in place, with a Flatten where it drops these axes.

    Runtimes compute GlobalAveragePool in int8 and in any memory layout.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    values = (*graph.input, *onnx.shape_inference.infer_shapes(model).graph.value_info)
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
    for node in [node for node in graph.node if node.op_type == "ReduceMean" and ranks.get(node.input[0]) == 4]:
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        axes_name = node.input[1] if len(node.input) > 1 else ""
        axes = (
            onnx.numpy_helper.to_array(constants[axes_name]).ravel() if axes_name in constants else attributes.get("axes", ())
        )
        if sorted(int(axis) % 4 for axis in axes) != [2, 3]:
            continue
        node.op_type = "GlobalAveragePool"
        del node.input[1:], node.attribute[:]
        if not attributes.get("keepdims", 1):
            flatten = onnx.helper.make_node("Flatten", [f"{node.output[0]}_pooled"], [node.output[0]], f"{node.name}/flatten")
            flatten.metadata_props.extend(node.metadata_props)
            node.output[0] = flatten.input[0]
            graph.node.insert(list(graph.node).index(node) + 1, flatten)


def _share_initializers(graph: onnx.GraphProto) -> None:
    used = {name for node in all_nodes(graph) for name in node.input} | {value.name for value in graph.output}
    first: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    unique = []
    for tensor in graph.initializer:
        if tensor.name not in used:
            continue
        head = f"{tensor.data_type} {tuple(tensor.dims)} ".encode()
        digest = hashlib.sha256(head + onnx.numpy_helper.to_array(tensor).tobytes()).digest()
        renamed[tensor.name] = first.setdefault(digest, tensor.name)
        if renamed[tensor.name] == tensor.name or tensor.name in {value.name for value in graph.output}:
            unique.append(tensor)
    for node in all_nodes(graph):
        node.input[:] = [renamed.get(name, name) for name in node.input]
    del graph.initializer[:]
    graph.initializer.extend(unique)


DEFAULTS = {"auto_pad": b"NOTSET", "group": 1, "allowzero": 0, "noop_with_empty_axes": 0}


def shorten_names(graph: onnx.GraphProto) -> None:
    """Give tensors short names and remove attributes with the default value: names are 4 % of a small int8 file.

    Inputs, outputs and nodes with weights keep their names; Q/DQ nodes lose theirs.
    """
    interface = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {name: name for name in (*interface, "")}
    for tensor in graph.initializer:
        tensor.name = names.setdefault(tensor.name, f"w{len(names)}")
    for node in all_nodes(graph):
        node.input[:] = [names.setdefault(name, f"t{len(names)}") for name in node.input]
        node.output[:] = [names.setdefault(name, f"t{len(names)}") for name in node.output]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.name = ""
        for attribute in list(node.attribute):
            if attribute.name in DEFAULTS and onnx.helper.get_attribute_value(attribute) == DEFAULTS[attribute.name]:
                node.attribute.remove(attribute)


def module_path(node: onnx.NodeProto, weights: frozenset[str] = frozenset(), *, ours: bool = False) -> str:
    """Path of the torch module that a node came from, from what its exporter recorded; empty where it recorded nothing.

    Args:
        node: Of a file written by either of torch's exporters, or by this package.
        weights: Names of the initializers.
        ours: This package wrote the file, so that a node is named after its layer, `layer1.0.conv1`, or after its module and
            operator, `layer1.0/Add`.
    """
    if scopes := next((entry.value for entry in node.metadata_props if entry.key == NAME_SCOPES), ""):
        try:
            names = list(ast.literal_eval(scopes))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # metadata of a file from anywhere
            return ""
        return next((str(name) for name in reversed(names[:-1]) if name), "")
    if "/" in node.name:
        return _join_path(node.name.strip("/").split("/")[:-1])
    layer = next((name.rsplit(".", 1)[0] for name in node.input if name in weights and "." in name), "")
    generated = node.name == "" or node.name.startswith((node.op_type, "node_"))
    return layer or (node.name if ours and not generated else "")


def _join_path(parts: Iterable[str]) -> str:
    """`features`, `features.0`, `conv` give `features.0.conv`: children of a Sequential carry their parent's name already."""
    path = ""
    for part in parts:
        path = part if not path or part.startswith(f"{path}.") else f"{path}.{part}"
    return path


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of branches and loop bodies included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from all_nodes(inner)
