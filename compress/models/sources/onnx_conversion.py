"""`onnx:PATH` for stages that train or cut: the file becomes a torch network, which is compared with the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.feeds import batch_samples, make_batches
from compress.backends.file_signature import read_signature
from compress.core.errors import CompressError, ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.core.stage import Context
from compress.core.user_path import user_path
from compress.models.sources.onnx_file import check_given_file, outputs_in_a_row, prepare_model
from compress.models.sources.onnx_network import build_network
from compress.models.text.token_range import check_tokens_of_file
from compress.tasks.flat_outputs import run_flat
from compress.tasks.output_agreement import compare_outputs
from compress.tasks.outputs import Outputs

if TYPE_CHECKING:
    from compress.models.factory import UnfittedModel

PURPOSE = "this chain"
COMPARED = 4
"""Samples that network and file are compared on, together and alone."""
RELATIVE, ABSOLUTE = 1e-3, 1e-4
"""Largest difference: of the largest output, and in units of the outputs."""


def build(name: str, _: Any, spec: NetworkSpec, *, base: Path, **__: Any) -> UnfittedModel:
    """The torch network of an ONNX file.

    Args:
        name: Its path.
        spec: Of the data, or of `converted_spec`; the network takes its inputs in their order.
        base: Folder that a relative path starts from.

    Raises:
        ConversionError: The file cannot be compressed, takes other inputs, or an operator has no torch function.
    """
    from compress.models.factory import UnfittedModel

    path = user_path(name, base)
    check_given_file(path)
    check_tokens_of_file(path, spec)
    prepared, notes = prepare_model(onnx_files.load(path), path.name)
    network = build_network(graphs.to_ir(prepared), gettext(PURPOSE))
    network.starts = tuple(each.name for each in converted_spec(path, spec).signature.inputs)
    return UnfittedModel(network, 0, notes)


def converted_spec(path: Path, spec: NetworkSpec) -> NetworkSpec:
    """The data's specification with the names of a file's inputs and, where the task asks for none, the file's outputs.

    Args:
        path: ONNX file.
        spec: Of the data.

    Raises:
        ConversionError: The file takes other inputs, or one without an axis of samples.
    """
    signature = read_signature(path)
    own = {each.name: each for each in signature.inputs}
    wanted = spec.signature.inputs
    if len(own) == len(wanted) == 1:
        own = {wanted[0].name: signature.inputs[0]}
    if own.keys() != {each.name for each in wanted}:
        listed, present = ", ".join(own), ", ".join(each.name for each in wanted)
        msg = gettext(
            "{path} takes {listed}, and the data gives {present}; give an array for each input of the network, and no other",
            path=path,
            listed=listed,
            present=present,
        )
        raise ConversionError(msg)
    inputs = tuple(_input(path, own[each.name], each) for each in wanted)
    outputs = spec.signature.outputs or tuple(_with_batch(each) for each in signature.outputs)
    named = Signature(inputs=inputs, outputs=outputs, sizes=spec.signature.sizes)
    return spec.model_copy(update={"signature": named})


def _input(path: Path, own: TensorSpec, wanted: TensorSpec) -> TensorSpec:
    if len(wanted.shape) == len(own.shape) + 1:
        msg = gettext(
            "{path} takes input {name!r} without an axis of samples, so that it runs one sample at a time and cannot be "
            "trained in batches; leave the stages that train out",
            path=path,
            name=own.name,
        )
        raise ConversionError(msg)
    return wanted.model_copy(update={"name": own.name, "values": wanted.values or own.values})


def _with_batch(output: TensorSpec) -> TensorSpec:
    """An output whose first axis counts samples, also where the file fixes it to one sample."""
    return output.model_copy(update={"shape": (BATCH, *output.shape[1:])}) if output.shape[:1] == (1,) else output


def check_converted(path: Path, network: nn.Module, context: Context) -> tuple[Fact, ...]:
    """Compare a converted network with its file, on samples of the data.

    Args:
        path: The file.
        network: Of `build`.
        context: Data and task.

    Returns:
        Notes.

    Raises:
        ConversionError: The data do not fit, or the outputs differ.
    """
    batch = next(iter(context.data.validation.ordered(COMPARED)))
    model = onnx_files.load(path)
    session = onnx_session.create_session(model, threads=0)
    feeds = [make_batches([sample], graphs.to_ir(model), 1)[0] for sample in batch_samples(batch)]
    expected = np.concatenate([outputs_in_a_row(session.run(None, each)) for each in feeds])
    with torch.no_grad():
        try:
            outputs = run_flat(network, tuple(batch.inputs.values())).numpy()
        except (CompressError, RuntimeError) as error:
            raise ConversionError(_not_in_batches(path, str(error).splitlines()[0])) from error
    if outputs.shape != expected.shape:
        raise ConversionError(
            _not_in_batches(
                path,
                gettext(
                    "outputs of shape {shape} in place of {expected_shape}", shape=outputs.shape, expected_shape=expected.shape
                ),
            )
        )
    agreement = compare_outputs(expected, outputs)
    if agreement.max_abs > ABSOLUTE + RELATIVE * agreement.scale:
        msg = gettext(
            "{path} as a torch network gives other outputs than the file (by up to {max_abs:.3g} of "
            "{scale:.3g}), so that it cannot be trained: leave the stages that train out",
            path=path,
            max_abs=agreement.max_abs,
            scale=agreement.scale,
        )
        raise ConversionError(msg)
    fixed = fixed_axes(path, context.data.spec)
    if not isinstance(context.task, Outputs):
        return fixed
    noise = gettext(", on random inputs") if context.data.source.startswith("random:") else ""
    return (*fixed, Fact.of("models.not_measured_without_labels", path.name, random=noise))


def fixed_axes(path: Path, spec: NetworkSpec) -> tuple[Fact, ...]:
    """A note on the free axes of a file that have the size of the data in the converted network; none without such axes.

    Args:
        path: The file.
        spec: Of `converted_spec`.
    """
    wanted = {each.name: each for each in spec.signature.inputs}
    inputs = read_signature(path).inputs
    pairs = [(each, wanted.get(each.name) or spec.signature.inputs[0]) for each in inputs]
    sizes = {
        axis: size
        for own, given in pairs
        for axis, size in zip(own.shape, given.shape, strict=False)
        if isinstance(axis, str) and axis != BATCH and isinstance(size, int)
    }
    if not sizes:
        return ()
    return (Fact.of("models.free_axes_fixed", path.name, sizes=", ".join(f"{axis} {size}" for axis, size in sizes.items())),)


def _not_in_batches(path: Path, reason: str) -> str:
    return gettext(
        "{path} as a torch network does not take {compared} samples at once ({reason}): export it with a free batch, or leave "
        "the stages that train out",
        path=path,
        compared=COMPARED,
        reason=reason,
    )
