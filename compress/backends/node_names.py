"""Names of nodes that say which torch module they came from, and the way back from a node to its module."""

from __future__ import annotations

import ast
from collections.abc import Iterable

import onnx_ir as ir

NAME_SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata key under which torch's exporter writes the modules around an operator: outermost first, the operator last."""


def name_nodes(model: ir.Model) -> None:
    """Name a node with weights after its layer (`features.3.conv.1`), any other after module and operator (`features.3/Add`).

    Reports, times of each layer and `keep_float` use these names.
    """
    names = set[str]()
    for index, node in enumerate(model.graph):
        weights = (str(value.name) for value in node.inputs if value is not None and _is_layer_weight(value))
        layer = next((weight.rsplit(".", 1)[0] for weight in weights), None)
        if not layer or layer in names:
            module = module_path(node)
            layer = f"{module}/{node.op_type}" if module else f"{node.op_type}_{index}"
        node.name = layer if layer not in names else f"{layer}_{index}"
        names.add(node.name)


def _is_layer_weight(value: ir.Value) -> bool:
    """Whether a tensor is a layer's `weight`: an initializer of two or more dimensions with the layer's name before a dot."""
    if not value.is_initializer() or "." not in str(value.name):
        return False
    return value.const_value is not None and len(value.const_value.shape) >= 2


def module_path(node: ir.Node, *, ours: bool = False) -> str:
    """Path of the torch module that a node came from, from what its exporter recorded; empty where it recorded nothing.

    Args:
        node: Of a file written by either of torch's exporters, or by this package.
        ours: This package wrote the file, so that a node is named after its layer, `layer1.0.conv1`, or after its module and
            operator, `layer1.0/Add`.
    """
    name = node.name or ""
    if scopes := node.metadata_props.get(NAME_SCOPES, ""):
        try:
            modules = list(ast.literal_eval(scopes))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # metadata of a file from anywhere
            return ""
        return next((str(module) for module in reversed(modules[:-1]) if module), "")
    if "/" in name:
        return _join_path(name.strip("/").split("/")[:-1])
    weights = (str(value.name) for value in node.inputs if value is not None and value.is_initializer())
    layer = next((weight.rsplit(".", 1)[0] for weight in weights if "." in weight), "")
    is_generated = name == "" or name.startswith((node.op_type, "node_"))
    return layer or (name if ours and not is_generated else "")


def _join_path(parts: Iterable[str]) -> str:
    """`features`, `features.0`, `conv` give `features.0.conv`: children of a Sequential carry their parent's name already."""
    path = ""
    for part in parts:
        path = part if not path or part.startswith(f"{path}.") else f"{path}.{part}"
    return path
