"""Export a torch network to a `torch.export` program, which runs without the code of the network."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from compress.backends.export_onnx import dynamic_shapes
from compress.backends.exporter_messages import innermost_reason, quiet_exporters
from compress.backends.proposal_operators import NAMESPACE
from compress.core.atomic_files import write_with
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.tasks.flat_outputs import run_flat

BATCHES = (1, 3)
"""Batch sizes at which a program is compared with its network."""
TOLERANCE = 1e-4
"""Largest difference of the outputs, as a fraction of the largest output."""
_LOCAL = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")
"""Metadata on the source code of each operation; not exported, because they contain paths of this machine."""


def export_program(module: nn.Module, spec: NetworkSpec, path: Path) -> tuple[Fact, ...]:
    """Export a network to a program for `torch.export.load(path).module()`, which is written atomically.

    Its inputs are in the order of the signature; the free axes are dynamic.

    Args:
        module: The network; not changed.
        spec: Signature of the network.
        path: Path of the new file, ending in `.pt2`.

    Returns:
        A note if no file was written, because `torch.export` does not support the network or the outputs differ.

    Raises:
        StoreError: The folder is not writable, or the disk is full.
    """
    network = copy.deepcopy(module).cpu().eval()
    try:
        with quiet_exporters(), torch.no_grad():
            program = _export(network, spec)
            _check_operators(program)
            _check(program, network, spec)
            buffer = io.BytesIO()  # with a path, torch would write the path into the file
            torch.export.save(program, buffer)
    except Exception as error:  # the code of the network may raise anything
        return (Fact.of("backends.no_program", path.name, reason=innermost_reason(error)),)
    write_with(path, lambda aside: aside.write_bytes(buffer.getbuffer()))
    return ()


def _export(network: nn.Module, spec: NetworkSpec) -> ExportedProgram:
    inputs = tuple(spec.signature.example(2).values())
    program = torch.export.export(network, inputs, dynamic_shapes=dynamic_shapes(network, spec.signature))
    for node in program.graph.nodes:
        for key in _LOCAL:
            node.meta.pop(key, None)
    return program


def _check_operators(program: ExportedProgram) -> None:
    """Check that a program has no operators of this package, which it could not be loaded without.

    Raises:
        ConversionError: It has some.
    """
    own = sorted({str(node.target) for node in program.graph.nodes if str(node.target).startswith(f"{NAMESPACE}.")})
    if own:
        msg = gettext("{names} are operators of this package", names=", ".join(own))
        raise ConversionError(msg)


def _check(program: ExportedProgram, network: nn.Module, spec: NetworkSpec) -> None:
    """Compare a program with its network at several batch sizes.

    Raises:
        ConversionError: The outputs differ.
    """
    module = program.module()
    for batch in BATCHES:
        inputs = tuple(spec.signature.example(batch, seed=batch).values())
        expected, outputs = run_flat(network, inputs), run_flat(module, inputs)
        difference = float((outputs - expected).abs().max())
        if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            msg = gettext(
                "the outputs of the program differ from those of the network by {difference:.3g} for {batch} samples",
                difference=difference,
                batch=batch,
            )
            raise ConversionError(msg)
