"""Clean up exported networks: `strip` removes what no runtime reads, `shorten_names` shortens names of tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import onnx_ir as ir

from compress.backends.transposed_weights import share_transposed

DEFAULTS = {"auto_pad": "NOTSET", "group": 1, "allowzero": 0, "noop_with_empty_axes": 0}
"""Default values of attributes; an attribute with its default is removed."""


def strip(model: ir.Model) -> None:
    """Remove what no runtime reads, in place: traces, documentation, inferred shapes, unused and duplicate constants.

    A constant matrix that is the transpose of another is duplicate too, see `share_transposed`.
    """
    graph = model.graph
    model.doc_string = None
    computed = [value for node in graph for value in node.outputs]
    for part in (graph, *graph, *graph.inputs, *graph.outputs, *computed, *graph.initializers.values()):
        part.doc_string = None
        part.metadata_props.clear()
    for value in computed:
        if not value.is_graph_output():
            value.type = value.shape = None
    for initializer in graph.initializers.values():
        _strip_initializer(initializer)
    _share_initializers(graph)
    share_transposed(model)


def _strip_initializer(value: ir.Value) -> None:
    tensor = value.const_value
    if tensor is not None and (tensor.doc_string or tensor.metadata_props):
        value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)


def _share_initializers(graph: ir.Graph) -> None:
    """Remove initializers that nothing reads, and all but one of those with the same type, shape and content."""
    first: dict[bytes, ir.Value] = {}
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
            continue
        tensor = value.const_value
        if tensor is None:
            continue
        head = f"{tensor.dtype} {tuple(tensor.shape)} ".encode()
        shared = first.setdefault(hashlib.sha256(head + tensor.numpy().tobytes()).digest(), value)
        if shared is not value:
            for node, index in value.uses():
                node.replace_input_with(index, shared)
            if not value.is_graph_output():
                del graph.initializers[name]


def shorten_names(model: ir.Model) -> None:
    """Shorten tensor names and remove attributes with the default value, in place: names are 4 % of a small int8 file.

    Inputs, outputs and nodes keep their names, except Q/DQ nodes, whose names are removed. In a network with branches or loops
    all tensors keep their names, because names in a branch must differ from all others.
    """
    graph = model.graph
    nodes = list(graph.all_nodes())
    for node in nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.name = ""
        for name in [name for name in DEFAULTS if name in node.attributes and node.attributes[name].value == DEFAULTS[name]]:
            del node.attributes[name]
    if all(node.graph is graph for node in nodes):
        _rename(graph, _short_names(graph))


def _short_names(graph: ir.Graph) -> dict[ir.Value, str]:
    """New names: `w…` for initializers, `t…` for computed tensors, numbered in graph order."""
    interface = {value.name for value in (*graph.inputs, *graph.outputs)}
    names: dict[ir.Value, str] = {}
    first = len(interface) + 1
    for value in graph.initializers.values():
        if value.name not in interface:
            names[value] = f"w{first + len(names)}"
    for tensor in (tensor for node in graph for tensor in (*node.inputs, *node.outputs)):
        if tensor is not None and tensor.name and tensor.name not in interface:
            names.setdefault(tensor, f"t{first + len(names)}")
    return names


def _rename(graph: ir.Graph, names: Mapping[ir.Value, str]) -> None:
    constants = list(graph.initializers.values())
    graph.initializers.clear()  # a new name may be the old name of another initializer
    for value, name in names.items():
        value.name = name
    for constant in constants:
        graph.register_initializer(constant)
