"""Files whose graph ends in the task's post-processing: written beside a network, or in its place, and compared with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from compress.backends import onnx_files
from compress.backends.compare_on_split import CollectedOutputs, collect_outputs
from compress.core.entries import Row
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.stage import Context
from compress.export.parity import SAMPLES, FormOutputs, ParityTable

if TYPE_CHECKING:
    from compress.tasks.postprocessing import Postprocessing

LEAST_AGREEMENT = 0.99
"""Fraction of the results that both must have: equal scores and boxes at a limit may fall on either side of it."""


def file_name(post: Postprocessing) -> str:
    """Name of the file beside `model.onnx`."""
    return f"model_{post.name.lower()}.onnx"


def write_graph(source: Path, target: Path, spec: NetworkSpec, post: Postprocessing) -> NetworkSpec:
    """Write a network whose graph ends in its post-processing.

    Args:
        source: The network.
        target: File to write.
        spec: Of the network.
        post: Of the task.

    Returns:
        The specification of the new file, whose outputs are the results.

    Raises:
        ConversionError: The result is not valid ONNX.
    """
    outputs = post.task(spec).outputs(spec.signature.inputs, spec.classes)
    results = spec.model_copy(update={"signature": spec.signature.model_copy(update={"outputs": outputs})})
    model = post.append_to(onnx_files.load(source), spec)
    onnx_files.write_metadata(model, results)
    onnx_files.check(model)
    onnx_files.save(model, target)
    return results


def compare_with_outside(network: Path, inside: Path, spec: NetworkSpec, context: Context, post: Postprocessing) -> list[Row]:
    """Results of a file that ends in its post-processing against the network with post-processing outside.

    Args:
        network: The network without post-processing.
        inside: The file made of it.
        spec: Of the network.
        context: Gives validation samples and the task.
        post: Of the task.

    Returns:
        Rows of the table `parity`, the metric of both.

    Raises:
        ConversionError: Fewer than `LEAST_AGREEMENT` of the results are in both.
    """
    validation, task = context.data.validation, post.task(spec)
    collected = collect_outputs(network, validation, context.task, limit=SAMPLES)
    results = post.run({name: values.numpy() for name, values in collected.outputs.items()}, spec)
    outside = CollectedOutputs({name: torch.from_numpy(values) for name, values in results.items()}, collected.targets)
    pairs = ParityTable(task)
    limit = f"top1 ≥ {LEAST_AGREEMENT:g}"
    reference = pairs.start(FormOutputs(gettext("{file}, {name} outside", file=network.name, name=post.name), outside))
    answers = FormOutputs(
        gettext("{name} in the graph", name=post.name), collect_outputs(inside, validation, task, limit=SAMPLES)
    )
    parity = pairs.add(reference, answers, limit)
    if parity.top1 is not None and parity.top1 < LEAST_AGREEMENT:
        msg = gettext(
            "{name} in the graph of {inside_name} gives other results than outside: {top1:.1%} are in both, "
            "allowed is {least_agreement:.0%} or more on {samples} validation samples; set `postprocessing: outside`",
            name=post.name,
            inside_name=inside.name,
            top1=parity.top1,
            least_agreement=LEAST_AGREEMENT,
            samples=parity.samples,
        )
        raise ConversionError(msg)
    return pairs.rows
