"""Whether figures of two runs are of the same quantity: the same samples, definition, reference, machine and settings.

Older records are judged by what they hold: a fact that one of them lacks makes nothing incomparable.
"""

from __future__ import annotations

from collections.abc import Mapping

from compress.core.errors import CompressError
from compress.core.language import gettext
from compress.core.record import BenchmarkRow
from compress.core.registry import lookup
from compress.core.run_record import RunRecord
from compress.pipeline.review.invalid_metrics import no_test

TEST_DATA = ("source", "test", "seed", "evaluation_limit", "samples", "fingerprint")
"""Settings of the data that decide which samples the test split holds."""
OF_THE_LOSS = {"regression": ("error",)}
"""Options of tasks that change the training loss and no metric."""
REASONS: Mapping[str, str] = {
    "hardware": "measured on different hardware: {first} and {second}",
    "runtime": "measured in different runtimes: {first} and {second}",
    "inputs": "measured with different inputs: {first} and {second}",
    "threads": "measured with different numbers of threads: {first} and {second}",
    "data": "on different test data: {name} is {first} and {second}",
    "task": "of different tasks: {first} and {second}",
    "option": "by different definitions: {option} of the task {task} is {first} and {second}",
    "original_sha256": "to different original networks: {first} and {second}, with different SHA-256",
    "original": "to different original networks: {first} and {second}",
}
"""Why two values are not of the same quantity, by what differs."""


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
        return _differ("hardware", *machines)
    if first.other_hardware != second.other_hardware:
        hardware = (row.other_hardware or row.device for row in (first, second))
        return _differ("hardware", *hardware)
    if first.runtime != second.runtime:
        return _differ("runtime", first.runtime, second.runtime)
    if bool(first.inputs) != bool(second.inputs):
        inputs = first.inputs or second.inputs
        return gettext("measured with inputs that only one of the records has: {inputs}", inputs=inputs)
    return ""


def other_settings(baseline: RunRecord, run: RunRecord, first: BenchmarkRow, second: BenchmarkRow) -> str:
    """Why two rows of one device profile do not compare: other inputs or threads; empty where they are the same."""
    if first.inputs and second.inputs and first.inputs != second.inputs:
        return _differ("inputs", first.inputs, second.inputs)
    threads = [_threads(record, row) for record, row in ((baseline, first), (run, second))]
    if None not in threads and threads[0] != threads[1]:
        return _differ("threads", *threads)
    return ""


def _no_test(baseline: RunRecord, run: RunRecord) -> str:
    if reason := no_test(run.warnings):
        return gettext("in the run, {reason}", reason=reason)
    if reason := no_test(baseline.warnings):
        return gettext("in the baseline, {reason}", reason=reason)
    return ""


def _other_test_data(baseline: RunRecord, run: RunRecord) -> str:
    for name in TEST_DATA:
        values = baseline.data.get(name), run.data.get(name)
        if values[0] != values[1]:
            return _differ("data", *values, name=name)
    first, second = (record.data.get("fingerprints") for record in (baseline, run))
    if isinstance(first, list) and isinstance(second, list) and first[-1:] != second[-1:]:
        return gettext("on different test data: the test loaders give different samples")
    if baseline.spec.classes != run.spec.classes:
        return gettext("on different test data: the names or the order of the classes differ")
    return ""


def _other_task(baseline: RunRecord, run: RunRecord) -> str:
    first, second = _task(baseline), _task(run)
    if not first or not second or first == second:
        return ""
    names = first["task"], second["task"]
    if names[0] != names[1]:
        return _differ("task", *names)
    option = next(name for name in (*first, *second) if first.get(name) != second.get(name))
    values = first.get(option), second.get(option)
    return _differ("option", *values, option=option, task=names[0])


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
        return "" if hashes[0] == hashes[1] else _differ("original_sha256", first, second)
    return "" if first == second else _differ("original", first, second)


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


def _differ(what: str, first: object, second: object, **names: object) -> str:
    return gettext(REASONS[what], first=first, second=second, **names)
