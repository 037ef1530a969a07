"""Picture of the latency of every network on every device."""

from __future__ import annotations

from dataclasses import replace

from compress.core.format_quantity import format_quantity
from compress.core.language import gettext, joined
from compress.core.record import BenchmarkRow
from compress.core.run_record import RunRecord
from compress.core.sentences.names import network_words
from compress.pipeline.report.benchmark_rows import benchmark_rows
from compress.pipeline.report.charts.axis import axis_of
from compress.pipeline.report.charts.bars import BarGroup, ChartBar, draw_bars
from compress.pipeline.report.figures.figure_file import FigureFile
from compress.pipeline.report.figures.overview import budget_limit

STYLES = {"teacher": "teacher", "student": "student", "artifact": "artifact"}


def latency_by_device(record: RunRecord) -> FigureFile | None:
    """Bars of the median latency of every network on every device, or None without a latency."""
    devices: dict[str, dict[str, BenchmarkRow]] = {}
    for _, row in benchmark_rows(record):
        devices.setdefault(row.device, {})[row.subject] = row
    groups = [
        BarGroup(device, [_bar(row) for row in rows.values()], budget_limit(record, "latency_ms", device))
        for device, rows in devices.items()
    ]
    values = [bar.value for group in groups for bar in group.bars if bar.value]
    if not values:
        return None
    limits = [group.limit for group in groups if group.limit]
    ends = [end for group in groups for bar in group.bars for end in (bar.high, bar.mark) if end]
    axis = axis_of(gettext("latency p50 of one sample (ms)"), [*values, *limits, *ends], margin=0.02, log=True)
    axis = replace(axis, low=axis.low / 2)
    texts = (f"{group.title}: {', '.join(f'{bar.name} {bar.text}' for bar in group.bars)}" for group in groups)
    caption = gettext(
        "Median latency by device, for the arrival pattern of its profile, on a logarithmic scale. Full bars are measured, "
        "hollow bars are estimated. Whiskers are 95 % intervals or error bands, the short vertical line is p99, a dashed line "
        "is a limit of the budget."
    )
    alternative = joined(texts)
    return FigureFile("latency", "devices", caption, draw_bars(groups, axis, alternative), alternative=alternative)


def _bar(row: BenchmarkRow) -> ChartBar:
    quantity = row.quantities.get(row.latency_name)
    style = STYLES.get(row.subject, "c3")
    name = network_words(row.subject)
    if quantity is None or not quantity.value or quantity.value <= 0:
        return ChartBar(name, None, gettext("not measured"), style)
    tail = row.quantities.get("latency_p99_ms")
    return ChartBar(
        name,
        quantity.value,
        f"{format_quantity(quantity)}{' ◐' if quantity.how == 'estimated' else ''}",
        style,
        hollow=quantity.how == "estimated",
        low=quantity.low,
        high=quantity.high,
        mark=tail.value if tail else None,
    )
