"""Name nodes after their torch modules, and find the torch module of a node."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

import onnx_ir as ir

NAME_SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata key of torch's exporter for the modules around an operator: outermost first, the operator last."""

NO_MODULE = "_empty_nn_module_stack_from_metadata_hook"
"""Scope that torch's exporter gives to operators outside of all modules, such as reads of the sizes of inputs."""
QUANTIZED = re.compile(r"(_MatMul)?_quant(_scales_mul|_output_scale_mul)?$")
"""Suffix that ONNX Runtime's `quantize_dynamic` adds to the name of a node."""
SLICE = re.compile(r"slice\([^)]*\)\.")
"""Part of a name that torch gives to a slice of a list of layers, as of `self.layers[: count]`; the layers keep their numbers
where the slice begins with the first."""
FUSED = "com.microsoft"
"""Domain of operators that ONNX Runtime fuses from several nodes."""


def name_nodes(model: ir.Model) -> None:
    """Name nodes with weights after their layer (`features.3.conv.1`), others after module and operator (`features.3/Add`).

    Reports, layer times and `keep_float` use these names.
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
    """Whether a tensor is the weight of a layer: an initializer of two or more dimensions with a dot in its name."""
    if not value.is_initializer() or "." not in str(value.name):
        return False
    return value.const_value is not None and len(value.const_value.shape) >= 2


def module_path(node: ir.Node, *, ours: bool = False) -> str:
    """Path of the torch module of a node, as far as its exporter recorded it; otherwise empty.

    Args:
        node: Node of a file written by one of torch's exporters or by this package.
        ours: Whether this package wrote the file, whose nodes have names such as `layer1.0.conv1` or `layer1.0/Add`.
    """
    name = node.name or ""
    if scopes := node.metadata_props.get(NAME_SCOPES, ""):
        try:
            modules = list(ast.literal_eval(scopes))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # metadata are untrusted
            return ""
        path = next((str(module) for module in reversed(modules[:-1]) if module and module != NO_MODULE), "")
        return SLICE.sub("", path)
    if "/" in name:
        path = _join_path(name.strip("/").split("/")[:-1])
        return "" if path == NO_MODULE else path
    layer = next((weight.rsplit(".", 1)[0] for weight in _weight_names(node) if "." in weight), "")
    is_generated = name == "" or name.startswith((node.op_type, "node_")) or (node.domain == FUSED and "." not in name)
    return layer or (QUANTIZED.sub("", name) if ours and not is_generated else "")


def _weight_names(node: ir.Node) -> Iterator[str]:
    """Names of the weights of a node; of a fused one only those of no other node, because exporters merge equal weights."""
    for value in node.inputs:
        if value is not None and value.is_initializer() and (node.domain != FUSED or len(value.uses()) == 1):
            yield str(value.name)


def _join_path(parts: Iterable[str]) -> str:
    """Join module names, of which some contain their parent: `features`, `features.0`, `conv` give `features.0.conv`."""
    path = ""
    for part in parts:
        path = part if not path or part.startswith(f"{path}.") else f"{path}.{part}"
    return path
