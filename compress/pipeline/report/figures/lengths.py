"""Picture of the latency over the sequence length, before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from compress.core.file_name import safe_file_name
from compress.core.format_quantity import format_with_provenance
from compress.core.record import LengthRow, Quantity
from compress.core.run_record import RunRecord
from compress.core.sentences.report import word
from compress.data.audio.settings import SAMPLES
from compress.pipeline.report.benchmark_rows import length_rows
from compress.pipeline.report.charts.axis import axis_of
from compress.pipeline.report.charts.lines import Line, draw_lines
from compress.pipeline.report.figures.devices import STYLES
from compress.pipeline.report.figures.figure_file import FigureFile

LATENCY = "latency_p50_ms"


def latency_by_length(record: RunRecord) -> Iterator[FigureFile]:
    """A picture for each device at batch 1, where a network has at least two lengths with a latency."""
    devices: dict[str, dict[str, list[LengthRow]]] = {}
    for row in length_rows(record):
        if row.batch == 1 and row.quantities[LATENCY].value is not None:
            devices.setdefault(row.device, {}).setdefault(row.subject, []).append(row)
    for device, networks in devices.items():
        if any(len(rows) > 1 for rows in networks.values()):
            yield _picture(device, networks)


def _picture(device: str, networks: dict[str, list[LengthRow]]) -> FigureFile:
    rows = [row for own in networks.values() for row in own]
    is_estimated = all(row.quantities[LATENCY].how == "estimated" for row in rows)
    lines = [_line(subject, own, dashed=is_estimated) for subject, own in networks.items()]
    alternative = "; ".join(
        word(
            "lengths.alternative", subject=row.subject, length=row.length, value=format_with_provenance(row.quantities[LATENCY])
        )
        for row in rows
    )
    x_axis = axis_of(
        word("lengths.x.samples") if rows[0].axis == SAMPLES else word("lengths.x"),
        [row.length for row in rows],
        margin=0.05,
        log=True,
    )
    x_axis = replace(x_axis, marks=tuple(sorted({float(row.length) for row in rows})))
    ends = [end for row in rows for end in _ends(row.quantities[LATENCY])]
    y_axis = axis_of(word("lengths.y"), ends, margin=0.05, log=True)
    caption = word("lengths.caption.estimated", device=device) if is_estimated else word("lengths.caption", device=device)
    svg = draw_lines(lines, x_axis, y_axis, alternative)
    return FigureFile(f"lengths_{safe_file_name(device)}", "lengths", caption, svg, alternative=alternative)


def _line(subject: str, rows: Sequence[LengthRow], *, dashed: bool) -> Line:
    quantities = [row.quantities[LATENCY] for row in rows]
    return Line(
        subject,
        [row.length for row in rows],
        [quantity.value or 0.0 for quantity in quantities],
        f"{STYLES.get(subject, 'c3')}{' dash' if dashed else ''}",
        ends=[_interval(quantity) for quantity in quantities],
    )


def _interval(quantity: Quantity) -> tuple[float, float] | None:
    return None if quantity.low is None or quantity.high is None else (quantity.low, quantity.high)


def _ends(quantity: Quantity) -> Iterator[float]:
    """The value and the ends of its interval, as far as a logarithmic axis can show them."""
    yield from (end for end in (quantity.value, *(_interval(quantity) or ())) if end is not None and end > 0)
