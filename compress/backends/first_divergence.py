"""Find the first node at which the outputs of two networks diverge: torch modules, ONNX files, int8 files with fused kernels.

    torch        a module `features.9.squeeze` ◄── same name ──► a node `features.9.squeeze`     ONNX float32
    ONNX float32 a node                        ◄── same name ──► the node before a QuantizeLinear  ONNX int8
    int8 unfused                               ◄── same file ──► int8 with fused kernels

An exported file has batch norms folded into convolutions, so in torch such a convolution is compared after its batch norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from compress.backends import onnx_files, onnx_session
from compress.backends.fold_batchnorm import prepare_for_export
from compress.backends.runner_protocol import Array
from compress.core.language import gettext

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

Outputs = Mapping[str, Array]
"""Float outputs by node, in the order in which they are computed."""


class NodeError(NamedTuple):
    """Error of one node.

    Attributes:
        node: Name of the node.
        error: max |a − b| / max |a| of its outputs.
    """

    node: str
    error: float


def node_errors(reference: Outputs, other: Outputs) -> list[NodeError]:
    """Errors of the nodes that both networks have with outputs of the same shape, in order.

    Args:
        reference: Outputs a, by node.
        other: Outputs b, by node, in order.
    """
    errors = []
    for name, b in other.items():
        a = reference.get(name)
        if a is None or a.shape != b.shape or a.size == 0:
            continue
        scale = float(np.abs(a).max())
        errors.append(NodeError(name, float(np.abs(a.astype(np.float64) - b).max()) / (scale or 1.0)))
    return errors


def describe_divergence(reference: Outputs, other: Outputs, limit: float) -> str:
    """Text on the first node at which the outputs diverge, for the end of a message.

    Args:
        reference: Outputs a, by node.
        other: Outputs b, by node, in order.
        limit: Limit of max |a − b| / max |a| of a node.
    """
    errors = node_errors(reference, other)
    if not errors:
        return gettext("they have no node in common, so the first divergence is unknown")
    first = next((node for node in errors if not node.error <= limit), None)  # NaN counts as divergence
    if first is not None:
        return gettext(
            "the first node that diverges is {node!r}, by {error:.2%} of its largest output", node=first.node, error=first.error
        )
    worst = max(errors, key=lambda node: node.error)
    return gettext(
        "no single node diverges as much; the worst is {node!r} with {error:.2%} of its largest output",
        node=worst.node,
        error=worst.error,
    )


def torch_outputs(network: nn.Module, inputs: Sequence[Array]) -> dict[str, Array]:
    """Outputs of every module without children, by name, in the network as prepared for the export.

    Args:
        network: The network; not changed.
        inputs: Inputs in the order of the signature, (N, …) each.
    """
    prepared = prepare_for_export(network)
    outputs: dict[str, Array] = {}
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    before = ""
    runs: set[str] = set()

    def record(name: str, module: nn.Module, output: object) -> None:
        nonlocal before
        if isinstance(output, Tensor) and name not in runs:  # the node with this name is the first call of the module
            outputs[before if isinstance(module, norms) and before else name] = output.numpy()
        runs.add(name)
        before = name

    def register_hooks() -> Iterator[RemovableHandle]:
        for name, module in prepared.named_modules():
            if not list(module.children()):
                yield module.register_forward_hook(lambda module, _, output, name=name: record(name, module, output))

    handles = list(register_hooks())
    try:
        with torch.inference_mode():
            prepared(*map(torch.from_numpy, inputs))
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def float_outputs(source: Path | onnx.ModelProto, inputs: Sequence[Array], *, activated: bool = False) -> dict[str, Array]:
    """Outputs of every named node of a float network, without graph optimizations.

    Args:
        source: Float file, or network in memory.
        inputs: Inputs in the order of the network, (N, …) each.
        activated: Use the output of the Clip or Relu after a node, if nothing else reads the node: int8 networks fuse them.
    """
    model = onnx_files.load(source) if isinstance(source, Path) else source
    names = {node.name: node.output[0] for node in model.graph.node if node.name and node.output}
    if activated:
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            readers.setdefault(node.input[0] if node.input else "", []).append(node)
        for name, tensor in names.items():
            after = readers.get(tensor, [])
            if len(after) == 1 and after[0].op_type in ("Clip", "Relu"):
                names[name] = after[0].output[0]
    return _read_tensors(model, names, inputs, optimised=False)


def int8_outputs(path: Path, inputs: Sequence[Array], *, fused: bool) -> dict[str, Array]:
    """Dequantized outputs of an int8 file, by the node before each QuantizeLinear.

    Only outputs of QuantizeLinear become outputs of the network, which does not prevent any fusion.

    Args:
        path: File with QuantizeLinear and DequantizeLinear.
        inputs: Inputs in the order of the file, (N, …) each.
        fused: With the graph optimizations of ONNX Runtime; False runs each operator as in the file.
    """
    model = onnx_files.load(path)
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    producers = {output: node.name for node in model.graph.node for output in node.output}
    names: dict[str, str] = {}
    scales: dict[str, tuple[Array, Array]] = {}
    for node in model.graph.node:
        name = producers.get(node.input[0], "") if node.op_type == "QuantizeLinear" else ""
        if name and node.input[1] in constants and (len(node.input) < 3 or node.input[2] in constants):
            scale = constants[node.input[1]]
            zero = constants[node.input[2]] if len(node.input) > 2 else np.zeros((), np.int64)
            if scale.ndim == 0:
                names[name], scales[name] = node.output[0], (scale, zero.astype(np.int64))
    quantized = _read_tensors(model, names, inputs, optimised=fused)
    return {name: ((values - scales[name][1]) * scales[name][0]).astype(np.float32) for name, values in quantized.items()}


def _read_tensors(
    model: onnx.ModelProto, names: Mapping[str, str], inputs: Sequence[Array], *, optimised: bool
) -> dict[str, Array]:
    """Values of tensors; `names` maps the keys of the result to tensors."""
    if not names:
        return {}
    types = {value.name: value.type for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    present = {value.name for value in model.graph.output}
    for tensor in dict.fromkeys(names.values()):
        if tensor not in present:
            model.graph.output.append(onnx.ValueInfoProto(name=tensor, type=types.get(tensor)))
    session = onnx_session.create_session(model, optimised=optimised)
    tensors = tuple(dict.fromkeys(names.values()))
    first = session.get_inputs()[0].shape
    batch = first[0] if first and isinstance(first[0], int) else len(inputs[0])  # the batch of the file may be fixed
    feeds = onnx_session.feeds_of(session, [values[:batch] for values in inputs])
    values = dict(zip(tensors, session.run(tensors, feeds), strict=True))
    return {name: values[tensor] for name, tensor in names.items() if isinstance(values[tensor], np.ndarray)}
