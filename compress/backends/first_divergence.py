"""Where two runs part: outputs node by node, of torch modules, of ONNX files, of int8 files with their kernels fused.

    torch        a module `features.9.squeeze` ◄── same name ──► a node `features.9.squeeze`     ONNX float32
    ONNX float32 a node                        ◄── same name ──► the node before a QuantizeLinear  ONNX int8
    int8 as written                            ◄── same file ──► int8 with fused kernels

Batch norm is folded into the convolution before it in a file, so such a convolution is compared after its batch norm.
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

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

Outputs = Mapping[str, Array]
"""Float outputs by node, in the order in which they are computed."""


class NodeError(NamedTuple):
    """How far a node is off.

    Attributes:
        node: Its name.
        error: max |a − b| / max |a| of its outputs.
    """

    node: str
    error: float


def node_errors(reference: Outputs, other: Outputs) -> list[NodeError]:
    """How far each node is off that both have with outputs of the same shape, in order.

    Args:
        reference: a, by node.
        other: b, by node, in order.
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
    """Where two runs part, as the end of a sentence.

    Args:
        reference: a, by node.
        other: b, by node, in order.
        limit: On max |a − b| / max |a| of a node.
    """
    errors = node_errors(reference, other)
    if not errors:
        return "they share no node by which to tell where it begins"
    first = next((node for node in errors if not node.error <= limit), None)  # not a number counts as apart
    if first is not None:
        return f"it begins at node {first.node!r}, which is off by {first.error:.2%} of its largest output"
    worst = max(errors, key=lambda node: node.error)
    return f"no node alone is so far off, the furthest is {worst.node!r} with {worst.error:.2%} of its largest output"


def torch_outputs(network: nn.Module, inputs: Sequence[Array]) -> dict[str, Array]:
    """Outputs of every module without children, by its name, as the exporter prepares the network.

    Args:
        network: Left as it was.
        inputs: In the order of its signature, (N, …) each.
    """
    ready = prepare_for_export(network)
    outputs: dict[str, Array] = {}
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    before = ""
    runs: set[str] = set()

    def keep(name: str, module: nn.Module, output: object) -> None:
        nonlocal before
        if isinstance(output, Tensor) and name not in runs:  # a node has the name of a module's first call
            outputs[before if isinstance(module, norms) and before else name] = output.numpy()
        runs.add(name)
        before = name

    def hooked() -> Iterator[RemovableHandle]:
        for name, module in ready.named_modules():
            if not list(module.children()):
                yield module.register_forward_hook(lambda module, _, output, name=name: keep(name, module, output))

    handles = list(hooked())
    try:
        with torch.inference_mode():
            ready(*map(torch.from_numpy, inputs))
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def float_outputs(source: Path | onnx.ModelProto, inputs: Sequence[Array], *, activated: bool = False) -> dict[str, Array]:
    """Outputs of every named node of a float network, run as written.

    Args:
        source: Float file, or network in memory.
        inputs: In the order of its inputs, (N, …) each.
        activated: Take the output of the Clip or Relu that alone follows a node: quantization puts both into one.
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
    return _exposed(model, names, inputs, optimised=False)


def int8_outputs(path: Path, inputs: Sequence[Array], *, fused: bool) -> dict[str, Array]:
    """Quantized outputs of an int8 file, as float, by the node that is quantized.

    Only outputs of QuantizeLinear are looked at, so that exposing them keeps every fused kernel in place.

    Args:
        path: File with QuantizeLinear and DequantizeLinear.
        inputs: In the order of its inputs, (N, …) each.
        fused: Let ONNX Runtime fuse, as a user gets it; False runs each operator as written.
    """
    model = onnx_files.load(path)
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    makers = {output: node.name for node in model.graph.node for output in node.output}
    names: dict[str, str] = {}
    steps: dict[str, tuple[Array, Array]] = {}
    for node in model.graph.node:
        name = makers.get(node.input[0], "") if node.op_type == "QuantizeLinear" else ""
        if name and node.input[1] in constants and (len(node.input) < 3 or node.input[2] in constants):
            scale = constants[node.input[1]]
            zero = constants[node.input[2]] if len(node.input) > 2 else np.zeros((), np.int64)
            if scale.ndim == 0:
                names[name], steps[name] = node.output[0], (scale, zero.astype(np.int64))
    quantized = _exposed(model, names, inputs, optimised=fused)
    return {name: ((values - steps[name][1]) * steps[name][0]).astype(np.float32) for name, values in quantized.items()}


def _exposed(model: onnx.ModelProto, names: Mapping[str, str], inputs: Sequence[Array], *, optimised: bool) -> dict[str, Array]:
    """Values of tensors by the names wanted for them."""
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
    batch = first[0] if first and isinstance(first[0], int) else len(inputs[0])  # a fixed batch takes no more samples
    feeds = onnx_session.feeds_of(session, [values[:batch] for values in inputs])
    values = dict(zip(tensors, session.run(tensors, feeds), strict=True))
    return {name: values[tensor] for name, tensor in names.items() if isinstance(values[tensor], np.ndarray)}
