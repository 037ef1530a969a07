"""Smaller ONNX files, and the torch module that a node came from.

`strip` removes what no runtime reads and stores equal weights once; `shorten_names` shortens the names of tensors.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator

import onnx

NAME_SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata key under which torch's exporter writes the modules around an operator: outermost first, the operator last."""


def strip(model: onnx.ModelProto) -> None:
    """Take out what no runtime needs: exporter traces, documentation, inferred shapes, unused and doubled initializers."""
    graph = model.graph
    for thing in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        thing.ClearField("doc_string")
    for thing in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        thing.ClearField("metadata_props")
    graph.ClearField("value_info")
    _share_initializers(graph)


def _share_initializers(graph: onnx.GraphProto) -> None:
    used = {name for node in all_nodes(graph) for name in node.input} | {value.name for value in graph.output}
    first: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    kept = []
    for tensor in graph.initializer:
        if tensor.name not in used:
            continue
        head = f"{tensor.data_type} {tuple(tensor.dims)} ".encode()
        digest = hashlib.sha256(head + onnx.numpy_helper.to_array(tensor).tobytes()).digest()
        renamed[tensor.name] = first.setdefault(digest, tensor.name)
        if renamed[tensor.name] == tensor.name or tensor.name in {value.name for value in graph.output}:
            kept.append(tensor)
    for node in all_nodes(graph):
        node.input[:] = [renamed.get(name, name) for name in node.input]
    del graph.initializer[:]
    graph.initializer.extend(kept)


DEFAULTS = {"auto_pad": b"NOTSET", "group": 1, "allowzero": 0, "noop_with_empty_axes": 0}


def shorten_names(graph: onnx.GraphProto) -> None:
    """Give tensors short names and leave out attributes that repeat the default: names are 4 % of a small int8 file.

    Inputs, outputs and nodes with weights keep their names; the Q/DQ nodes between lose theirs.
    """
    kept = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {name: name for name in (*kept, "")}
    for tensor in graph.initializer:
        tensor.name = names.setdefault(tensor.name, f"w{len(names)}")
    for node in all_nodes(graph):
        node.input[:] = [names.setdefault(name, f"t{len(names)}") for name in node.input]
        node.output[:] = [names.setdefault(name, f"t{len(names)}") for name in node.output]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.name = ""
        for attribute in [one for one in node.attribute if one.name in DEFAULTS and _value(one) == DEFAULTS[one.name]]:
            node.attribute.remove(attribute)


def _value(attribute: onnx.AttributeProto) -> object:
    return onnx.helper.get_attribute_value(attribute)


def module_path(node: onnx.NodeProto, weights: frozenset[str] = frozenset(), *, ours: bool = False) -> str:
    """Path of the torch module that a node came from, by what its exporter left; empty where it left nothing.

    Args:
        node: Of a file by either of torch's exporters, or by this package.
        weights: Names of the initializers.
        ours: This package wrote the file: a node is called by its layer, `layer1.0.conv1`, or by module and operator,
            `layer1.0/Add`.
    """
    if scopes := next((entry.value for entry in node.metadata_props if entry.key == NAME_SCOPES), ""):
        return next((str(name) for name in reversed(ast.literal_eval(scopes)[:-1]) if name), "")
    if "/" in node.name:
        return _folded(node.name.strip("/").split("/")[:-1])
    layer = next((name.rsplit(".", 1)[0] for name in node.input if name in weights and "." in name), "")
    generated = node.name == "" or node.name.startswith((node.op_type, "node_"))
    return layer or (node.name if ours and not generated else "")


def _folded(parts: Iterable[str]) -> str:
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
