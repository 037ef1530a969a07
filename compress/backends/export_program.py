"""torch → `torch.export` program: a file that runs with torch alone, without the code that defined the network."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from compress.backends.export_onnx import dynamic_shapes
from compress.backends.exporter_messages import innermost_reason, quiet_exporters
from compress.core.atomic_files import write_with
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.tasks.flat_outputs import run_flat

BATCHES = (1, 3)
"""Sizes of the batch at which a program is compared with its network."""
TOLERANCE = 1e-4
"""Largest difference of the outputs, as a fraction of the largest output."""
_LOCAL = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")
"""What torch notes of the code that each operation is from: paths of this machine, which nobody else needs."""


def export_program(module: nn.Module, spec: NetworkSpec, path: Path) -> tuple[Fact, ...]:
    """Write a network as a program that `torch.export.load(path).module()` runs, whole or not at all.

    It takes the inputs in the order of the signature; the batch and the other free axes have any size.

    Args:
        module: The network; left as it was.
        spec: Its signature.
        path: Where the file appears; it ends in `.pt2`.

    Returns:
        A note where no file was written: `torch.export` does not take the network, or the program computes something else.

    Raises:
        StoreError: The folder is not writable, or full.
    """
    network = copy.deepcopy(module).cpu().eval()
    try:
        with quiet_exporters(), torch.no_grad():
            program = _exported(network, spec)
            _check(program, network, spec)
            buffer = io.BytesIO()  # a path would become part of the file
            torch.export.save(program, buffer)
    except Exception as error:  # the exporter lets through whatever a network's own code raises
        return (Fact.of("backends.no_program", path.name, reason=innermost_reason(error)),)
    write_with(path, lambda aside: aside.write_bytes(buffer.getbuffer()))
    return ()


def _exported(network: nn.Module, spec: NetworkSpec) -> ExportedProgram:
    inputs = tuple(spec.signature.example(2).values())
    program = torch.export.export(network, inputs, dynamic_shapes=dynamic_shapes(network, spec.signature))
    for node in program.graph.nodes:
        for key in _LOCAL:
            node.meta.pop(key, None)
    return program


def _check(program: ExportedProgram, network: nn.Module, spec: NetworkSpec) -> None:
    """Compare a program with its network, at several sizes of the batch.

    Raises:
        ConversionError: The outputs differ.
    """
    module = program.module()
    for batch in BATCHES:
        inputs = tuple(spec.signature.example(batch, seed=batch).values())
        expected, outputs = run_flat(network, inputs), run_flat(module, inputs)
        difference = float((outputs - expected).abs().max())
        if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            msg = f"the program's outputs differ from the network's by {difference:.3g} for {batch} samples"
            raise ConversionError(msg)
