"""Compare the outputs of torch → ONNX float32 → ONNX int8 → engine in pairs on validation, before artifacts are written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compress.backends import first_divergence as nodes
from compress.core.errors import DeviceError, MissingPackageError
from compress.core.language import gettext
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context
from compress.export.parity import (
    FormOutputs,
    ParityTable,
    cannot_run_reason,
    check,
    check_relative_error,
    check_top1,
    form_name,
    outputs_of_file,
    outputs_of_network,
    search_inputs,
)
from compress.tasks.output_agreement import OutputAgreement

if TYPE_CHECKING:
    from compress.backends.compare_on_split import CollectedOutputs
    from compress.backends.runner_protocol import Runner
    from compress.export.settings import Tolerance

FLOAT = "ONNX float32"
NO_LIMIT = "none: the budget limits the metric"
ENGINE = "ONNX → TensorRT engine"
ENGINE_BATCH = 8
"""Largest batch size of an engine."""


def compare_float(
    candidate: Candidate, path: Path, context: Context, tolerance: Tolerance, pairs: ParityTable
) -> OutputAgreement:
    """Compare a torch network with its ONNX export.

    Raises:
        ConversionError: The difference exceeds the tolerance; the message names the first node.
    """
    network, validation = candidate.network(), context.data.validation

    def where(limit: float) -> str:
        inputs = search_inputs(validation, path)
        return nodes.describe_divergence(nodes.torch_outputs(network, inputs), nodes.float_outputs(path, inputs), limit)

    parity = pairs.add(
        pairs.start(outputs_of_network(network, validation, context.task)),
        outputs_of_file(FLOAT, path, validation, context.task),
        tolerance.limit,
    )
    what = gettext("torch against its ONNX export")
    check(parity, relative=tolerance.relative, absolute=tolerance.absolute, what=what, where=where)
    return parity


def compare_int8(candidate: Candidate, context: Context, tolerance: Tolerance, pairs: ParityTable) -> OutputAgreement:
    """Compare the float parent with torch, the int8 files with the float parent, and fused with unfused int8 kernels.

    Returns:
        The comparison of fused and unfused kernels, for the file of ONNX Runtime.

    Raises:
        ConversionError: A difference exceeds the tolerance; the message names the first node.
    """
    validation = context.data.validation
    path = candidate.files["onnxruntime"]
    form = form_name(path)
    unfused = outputs_of_file(gettext("{form} as written", form=form), path, validation, context.task, optimised=False)
    if context.float_file is not None:
        _compare_with_parent(candidate, context, tolerance, pairs, unfused)
    else:
        pairs.start(unfused)

    def where(limit: float) -> str:
        inputs = search_inputs(validation, path)
        return nodes.describe_divergence(
            nodes.int8_outputs(path, inputs, fused=False), nodes.int8_outputs(path, inputs, fused=True), limit
        )

    has_positions = any(values.ndim > 2 for values in unfused.collected.outputs.values())
    limit = gettext("{share:g} × largest output", share=tolerance.fused)
    if has_positions:
        limit = gettext("{share:g} × root of the squared outputs", share=tolerance.fused)
    parity = pairs.add(unfused, outputs_of_file(gettext("fused kernels"), path, validation, context.task), limit)
    what = gettext("{form} as written against ONNX Runtime's fused kernels", form=form.removeprefix("ONNX "))
    if has_positions:
        check_relative_error(parity, most=tolerance.fused, what=what, where=where)
    else:
        check(parity, relative=tolerance.fused, absolute=0.0, what=what, where=where)
    return parity


def _compare_with_parent(
    candidate: Candidate, context: Context, tolerance: Tolerance, pairs: ParityTable, unfused: FormOutputs
) -> None:
    parent, validation = context.float_file, context.data.validation
    assert parent is not None  # noqa: S101  # checked by the caller
    if context.load_float_network is not None:
        before = Candidate(candidate.spec, context.load_float_network())
        compare_float(before, parent, context, tolerance, pairs)
        exact = outputs_of_file(FLOAT, parent, validation, context.task)
    else:
        exact = pairs.start(outputs_of_file(FLOAT, parent, validation, context.task))
    limit = f"top1 ≥ {tolerance.top1:g}" if tolerance.top1 else gettext(NO_LIMIT)
    for family, path in candidate.files.items():
        first = path == candidate.files["onnxruntime"]
        if not first and (reason := cannot_run_reason(path)):
            pairs.add_missing(gettext("{form} → ONNX for {runtime}", form=FLOAT, runtime=family), reason)
            continue
        outputs = unfused
        if not first:
            name = gettext("{form} for {runtime}, as written", form=form_name(path), runtime=family)
            outputs = outputs_of_file(name, path, validation, context.task, optimised=False)
        parity = pairs.add(exact, outputs, limit)

        def where(limit: float, path: Path = path) -> str:
            inputs = search_inputs(validation, path)
            int8 = nodes.int8_outputs(path, inputs, fused=False)
            return nodes.describe_divergence(nodes.float_outputs(parent, inputs, activated=True), int8, limit)

        check_top1(
            parity, least=tolerance.top1, what=gettext("{form} against {other}", form=FLOAT, other=outputs.form), where=where
        )


def compare_engine(path: Path, context: Context, pairs: ParityTable) -> None:
    """Compare the file for TensorRT with an engine built from it; if none can be built, add a row with the reason."""
    validation = context.data.validation
    if reason := cannot_run_reason(path):
        pairs.add_missing(gettext(ENGINE), reason)
        return
    unfused = outputs_of_file(gettext("ONNX for TensorRT, as written"), path, validation, context.task, optimised=False)
    try:
        with lookup("runner", "tensorrt").load()(path) as runner:
            outputs = FormOutputs(gettext("TensorRT engine"), _in_batches(runner, unfused, context))
    except MissingPackageError:
        pairs.add_missing(gettext(ENGINE), gettext("TensorRT is not installed; run build_engine.sh on the device"))
        return
    except DeviceError as error:
        reason = gettext("{error}; build_engine.sh builds the engine on the device", error=error)
        pairs.add_missing(gettext(ENGINE), reason)
        return
    pairs.add(unfused, outputs, gettext(NO_LIMIT))


def compare_runtime(runtime: str, path: Path, context: Context, pairs: ParityTable) -> None:
    """Compare a file in ONNX Runtime on the CPU, without optimizations, with the same file in the runtime of the artifact.

    Raises:
        CompressError: The runtime cannot run the file.
    """
    from compress.backends.open_runner import open_runner

    unfused = outputs_of_file(
        gettext("{form} as written", form=path.name), path, context.data.validation, context.task, optimised=False
    )
    with open_runner(runtime, path) as runner:
        outputs = FormOutputs(runner.describe()["runtime"], _in_batches(runner, unfused, context))
    pairs.add(unfused, outputs, gettext(NO_LIMIT))


def _in_batches(runner: Runner, unfused: FormOutputs, context: Context) -> CollectedOutputs:
    from compress.backends.compare_on_split import collect_outputs

    limit = len(unfused.collected)
    return collect_outputs(runner, context.data.validation, context.task, batch_size=ENGINE_BATCH, limit=limit)
