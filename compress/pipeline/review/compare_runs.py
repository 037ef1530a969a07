"""Compare finished runs: what differs by more than its interval, and which settings of the recipes differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from compress.core.format_quantity import quantity_label
from compress.core.language import gettext
from compress.core.record import BenchmarkRow, Metric, Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.report.tables import final_metrics
from compress.pipeline.review.comparability import other_machine, other_metrics, other_settings
from compress.pipeline.review.difference import Difference, difference
from compress.pipeline.review.judge_record import shipped_rows, task_metrics

COMPARED = ("size_bytes", "parameters", "macs")
ON_DEVICES = ("memory_bytes", "power_w", "energy_j")
MISSING = "(not set)"

Setting = str | int | float | bool | None


@dataclass(frozen=True)
class QuantityChange:
    """One quantity of what ships, in two runs.

    Attributes:
        label: In words, with the device where it is of one.
        name: Of the quantity.
        device: Where it was measured; empty where it is of the network.
        first: Of the baseline.
        second: Of the other run.
        change: Their difference.
        metric: The metric that it is the value of; None for others.
        is_deciding: Whether that metric decides in one of the runs.
        by_settings: Whether it is not comparable because the two were measured with other settings on the same device.
    """

    label: str
    name: str
    device: str
    first: Quantity | None
    second: Quantity | None
    change: Difference
    metric: Metric | None = None
    is_deciding: bool = False
    by_settings: bool = False


@dataclass(frozen=True)
class SettingChange:
    """One setting of the resolved recipes that differs.

    Attributes:
        path: Key path, such as `stages[1].prune.target.macs`.
        first: Its value in the baseline; `(not set)` where it has none.
        second: Its value in the other run.
    """

    path: str
    first: Setting
    second: Setting


def compare_quantities(baseline: RunRecord, run: RunRecord) -> tuple[QuantityChange, ...]:
    """Metrics of the task, size, figures on devices, the deciding metric first; what only one run has is not comparable."""
    return (*_metrics(baseline, run), *_network(baseline, run), *_devices(baseline, run))


def compare_settings(baseline: RunRecord, run: RunRecord) -> tuple[SettingChange, ...]:
    """Settings of the resolved recipes that differ, in the order of the baseline."""
    first, second = dict(flatten_settings(baseline.recipe)), dict(flatten_settings(run.recipe))
    paths = [*first, *(path for path in second if path not in first)]
    return tuple(
        SettingChange(path, first.get(path, MISSING), second.get(path, MISSING))
        for path in paths
        if path != "name" and first.get(path, MISSING) != second.get(path, MISSING)
    )


def _metrics(baseline: RunRecord, run: RunRecord) -> Iterator[QuantityChange]:
    first, second = final_metrics(baseline), final_metrics(run)
    metrics = {metric.name: metric for metric in (*task_metrics(run), *task_metrics(baseline))}
    reason = other_metrics(baseline, run)
    deciding = {task_metrics(record)[0].name for record in (baseline, run)}
    for metric in metrics.values():
        if metric.name not in {*deciding, *first, *second}:
            continue  # such as the top-5 accuracy of five classes or fewer
        values = first.get(metric.name), second.get(metric.name)
        change = _not_comparable(reason) if reason else difference(*values, higher_is_better=metric.higher_is_better)
        yield QuantityChange(
            gettext("test {metric}", metric=gettext(metric.label)),
            metric.name,
            "",
            *values,
            change,
            metric,
            metric.name in deciding,
        )


def _network(baseline: RunRecord, run: RunRecord) -> Iterator[QuantityChange]:
    first, second = final_metrics(baseline), final_metrics(run)
    for name in COMPARED:
        if name in first or name in second:
            values = first.get(name), second.get(name)
            yield QuantityChange(quantity_label(name), name, "", *values, difference(*values, higher_is_better=False))


def _devices(baseline: RunRecord, run: RunRecord) -> Iterator[QuantityChange]:
    rows, others = _artifacts(baseline), _artifacts(run)
    for device in dict.fromkeys((*others, *rows)):
        first, second = rows.get(device), others.get(device)
        either = second or first
        assert either is not None  # noqa: S101  # the device is of one of them
        settings = other_settings(baseline, run, first, second) if first and second else ""
        reason = settings or (other_machine(baseline, run, first, second) if first and second else "")
        for name in (either.latency_name, *ON_DEVICES):
            values = first.quantities.get(name) if first else None, second.quantities.get(name) if second else None
            if any(value is not None and value.value is not None for value in values):
                change = _not_comparable(reason) if reason else difference(*values, higher_is_better=False)
                label = gettext("{quantity}, {device}", quantity=quantity_label(name), device=device)
                yield QuantityChange(label, name, device, *values, change, by_settings=bool(settings))


def _not_comparable(reason: str) -> Difference:
    return Difference(Quantity.missing("1", reason), "not comparable")


def _artifacts(record: RunRecord) -> dict[str, BenchmarkRow]:
    """The artifact's row by device; of several the latest."""
    return {row.device: row for row in shipped_rows(record) if row.subject == "artifact"}


def flatten_settings(tree: object, path: str = "") -> Iterator[tuple[str, Setting]]:
    """Every value of nested settings by its path, such as `stages[0].distill.epochs`."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from flatten_settings(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        for index, value in enumerate(tree):
            yield from flatten_settings(value, f"{path}[{index}]")
    elif tree is None or isinstance(tree, str | int | float | bool):
        yield path, tree
    else:
        yield path, str(tree)
