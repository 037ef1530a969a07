"""Whether figures of two runs are of the same quantity: the same samples, definition, reference, machine and settings.

Older records are judged by what they hold: a fact that one of them lacks makes nothing incomparable.
"""

from __future__ import annotations

from collections.abc import Mapping

from compress.core.errors import CompressError
from compress.core.record import BenchmarkRow
from compress.core.registry import lookup
from compress.core.run_record import RunRecord
from compress.pipeline.review.invalid_metrics import no_test

TEST_DATA = ("source", "test", "seed", "evaluation_limit", "samples", "fingerprint")
"""Settings of the data that decide which samples the test split holds."""
OF_THE_LOSS = {"regression": ("error",)}
"""Options of tasks that change the training loss and no metric."""


def other_metrics(baseline: RunRecord, run: RunRecord) -> str:
    """Why the metrics of two runs do not compare; empty where they do, as far as records say."""
    return (
        _no_test(baseline, run)
        or _other_test_data(baseline, run)
        or _other_task(baseline, run)
        or _other_original(baseline, run)
    )


def other_machine(baseline: RunRecord, run: RunRecord, first: BenchmarkRow, second: BenchmarkRow) -> str:
    """Why two rows of one device profile do not compare: other hardware, another runtime, or inputs that one lacks."""
    machines = [record.environment.get("processor", "") for record in (baseline, run)]
    if first.local and second.local and machines[0] != machines[1]:
        return f"measured on other hardware: {machines[0]} and {machines[1]}"
    if first.other_hardware != second.other_hardware:
        return (
            f"measured on other hardware: {first.other_hardware or first.device} and {second.other_hardware or second.device}"
        )
    if first.runtime != second.runtime:
        return f"by other runtimes: {first.runtime} and {second.runtime}"
    if bool(first.inputs) != bool(second.inputs):
        return f"with inputs that one record does not have: {first.inputs or second.inputs}"
    return ""


def other_settings(baseline: RunRecord, run: RunRecord, first: BenchmarkRow, second: BenchmarkRow) -> str:
    """Why two rows of one device profile do not compare: other inputs or threads; empty where they are the same."""
    if first.inputs and second.inputs and first.inputs != second.inputs:
        return f"with other inputs: {first.inputs} and {second.inputs}"
    threads = [_threads(record, row) for record, row in ((baseline, first), (run, second))]
    if None not in threads and threads[0] != threads[1]:
        return f"with other numbers of threads: {threads[0]} and {threads[1]}"
    return ""


def _no_test(baseline: RunRecord, run: RunRecord) -> str:
    return next(
        (
            f"in the {name}, {reason}"
            for name, record in (("run", run), ("baseline", baseline))
            if (reason := no_test(record.warnings))
        ),
        "",
    )


def _other_test_data(baseline: RunRecord, run: RunRecord) -> str:
    for name in TEST_DATA:
        values = baseline.data.get(name), run.data.get(name)
        if values[0] != values[1]:
            return f"on other test data: {name} is {values[0]} and {values[1]}"
    first, second = (record.data.get("fingerprints") for record in (baseline, run))
    if isinstance(first, list) and isinstance(second, list) and first[-1:] != second[-1:]:
        return "on other test data: the test loaders give other samples"
    if baseline.spec.classes != run.spec.classes:
        return "on other test data: the classes have other names, or another order"
    return ""


def _other_task(baseline: RunRecord, run: RunRecord) -> str:
    first, second = _task(baseline), _task(run)
    if not first or not second or first == second:
        return ""
    names = first["task"], second["task"]
    if names[0] != names[1]:
        return f"of other tasks: {names[0]} and {names[1]}"
    option = next(name for name in (*first, *second) if first.get(name) != second.get(name))
    return f"by another definition: {option} of the task {names[0]} is {first.get(option)} and {second.get(option)}"


def _task(record: RunRecord) -> dict[str, object]:
    """Name of the task, as `task`, and its options that can change its metrics, with defaults; empty without a task."""
    source = record.recipe.get("task")
    name, given = next(iter(source.items()), ("", {})) if isinstance(source, Mapping) else (source, {})
    if not isinstance(name, str) or not name:
        return {}
    try:
        fields = lookup("task", name).load().settings.model_fields
    except (CompressError, AttributeError):  # a task of the user's own, or of a package that is not installed
        fields = {}
    defaults = {key: field.default for key, field in fields.items() if not field.is_required()}
    options = defaults | dict(given or {})
    return {"task": name, **{key: value for key, value in options.items() if key not in OF_THE_LOSS.get(name, ())}}


def _other_original(baseline: RunRecord, run: RunRecord) -> str:
    """Why similarities to the original networks do not compare; empty for tasks with labels."""
    if any(_task(record).get("task") != "outputs" for record in (baseline, run)):
        return ""
    hashes = baseline.original_sha256, run.original_sha256
    first, second = (_source(record) for record in (baseline, run))
    if all(hashes):
        return "" if hashes[0] == hashes[1] else f"to other original networks: {first} and {second}, of other SHA-256"
    return "" if first == second else f"to other original networks: {first} and {second}"


def _source(record: RunRecord) -> object:
    model = record.recipe.get("model")
    return model.get("source") if isinstance(model, Mapping) else model


def _threads(record: RunRecord, row: BenchmarkRow) -> object:
    """Threads of a measured row of what ships; None for an estimate."""
    latency = row.quantities.get(row.latency_name)
    if latency is None or latency.how != "measured":
        return None
    stage = next((stage for stage in reversed(record.stages) if row in stage.benchmark_rows), None)
    return stage.parameters.get("threads") if stage else None
