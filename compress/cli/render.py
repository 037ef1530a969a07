"""Results of a run and of other commands on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import set_cell_size
from rich.console import Console

from compress.cli.terminal import table
from compress.core.errors import DeviceError
from compress.core.fact import Fact
from compress.core.format_quantity import (
    PROVENANCE_MARKS,
    display_unit,
    format_interval,
    format_quantity,
    format_with_provenance,
    quantity_label,
)
from compress.core.language import gettext
from compress.core.record import LengthRow, Metric, Quantity
from compress.core.sentences import render, render_subject
from compress.core.sentences.limits import allowed_words, explain, limit_words
from compress.core.verdict import Check, Result
from compress.pipeline.report.outline import NOT_JUDGED, SMOKE, is_budget_skipped, metric_of
from compress.pipeline.report.tables import summary_rows

if TYPE_CHECKING:
    from compress.core.signature import Signature
    from compress.pipeline.check_run import RunCheck
    from compress.pipeline.pipeline import Run
    from compress.pipeline.quantize_report import QuantizeReport
    from compress.profile.layers_and_soak import FileDetails
    from compress.verify.cross_isa import Verification


_SIGNS: Mapping[Result, str] = {"met": "✓", "not shown": "~", "missed": "✗"}
_VERDICTS: Mapping[Result, tuple[str, str]] = {
    "met": ("budget missed", "budget met"),
    "not shown": ("budget missed: not shown to be met", "budget met, not shown"),
    "missed": ("budget missed", "budget missed"),
}
"""By the worst result of a limit: the words where the budget does not take it, and where it does."""
_COLOURS: Mapping[Result, str] = {"met": "green", "not shown": "yellow", "missed": "red"}


def show(console: Console, run: Run) -> None:
    """Show metrics before and after, the verdict, and the paths of the files."""
    console.print()
    if run.record.smoke:
        console.print(f"[bold yellow]{gettext(SMOKE)}[/]")
    header, *rows = summary_rows(run.record)
    table(console, "", header, rows)
    if is_budget_skipped(run.record):
        console.print("\n[bold yellow]" + gettext("budget not judged") + f"[/]  {gettext(NOT_JUDGED)}")
    elif run.verdict is not None:
        console.print()
        words = gettext(_VERDICTS[run.verdict.result][run.verdict.passed])
        console.print(f"[bold {_COLOURS[run.verdict.result] if run.verdict.passed else 'red'}]{words}[/]")
        for check in run.verdict.checks:
            metric = metric_of(run.record, check.quantity_name)
            console.print(_sentence(check, metric), markup=False, highlight=False, soft_wrap=True)
        for note in run.verdict.notes:
            console.print(f"  ! {render(note)}", markup=False, highlight=False, soft_wrap=True)
    console.print()
    for path in (*run.report[:2], run.folder / "artifacts"):
        if path.exists():
            console.print(str(path), markup=False, highlight=False, soft_wrap=True)


def _sentence(check: Check, metric: Metric) -> str:
    unit = display_unit(check.quantity_name, check.quantity, metric)
    quantity = format_with_provenance(check.quantity, unit)
    sentence = gettext(
        "{limit}: {quantity}, allowed {allowed}: {reason}",
        limit=limit_words(check),
        quantity=quantity,
        allowed=allowed_words(check),
        reason=explain(check),
    )
    return f"  {_SIGNS[check.result]} {sentence}"


def show_signatures(console: Console, signatures: Mapping[str, Signature]) -> None:
    """Show inputs and outputs of each file; sizes of free axes are those of the rows below."""
    for name, signature in signatures.items():
        rows = [(gettext("takes"), str(spec)) for spec in signature.inputs]
        rows += [(gettext("gives"), str(spec)) for spec in signature.outputs]
        table(console, name, ("", gettext("name: type and shape")), rows, words=True)
        console.print()


def show_size_sweep(console: Console, points: Sequence[Mapping[str, object]]) -> None:
    """Show a row for each size of a free axis."""
    if points:
        header = gettext("file|device|axis|size|batch|runs|latency p50|throughput").split("|")
        rows = [[*(str(point[key]) for key in ("file", "device", "axis", "size", "batch", "runs")), *_timed(point)]
                for point in points]  # fmt: skip
        table(console, gettext("latency by size"), header, rows)


LENGTH_COLUMNS = (
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "throughput_per_s",
    "tokens_per_s",
    "memory_bytes",
)


def show_lengths(console: Console, rows: Sequence[LengthRow]) -> None:
    """Show a table by sequence length, and why a length was not measured."""
    if not rows:
        return
    header = [*gettext("file|device|length|batch").split("|"), *map(quantity_label, LENGTH_COLUMNS)]
    cells = [
        [
            row.subject,
            row.device,
            str(row.length),
            str(row.batch),
            *(cell_of(row.quantities[name]) for name in LENGTH_COLUMNS),
        ]
        for row in rows
    ]
    table(console, gettext("latency by sequence length"), header, cells)
    reasons = dict.fromkeys(
        (row.length, row.quantities[LENGTH_COLUMNS[0]].detail)
        for row in rows
        if row.quantities[LENGTH_COLUMNS[0]].value is None
    )
    for length, reason in reasons:
        text = gettext("length {length} not measured: {reason}", length=length, reason=reason)
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def cell_of(quantity: Quantity) -> str:
    """Value and interval without words, which the columns of a wide table leave no room for."""
    if quantity.value is None:
        return PROVENANCE_MARKS[quantity.how]
    interval = format_interval(quantity)
    return f"{format_quantity(quantity)}{f' ({interval})' if interval else ''} {PROVENANCE_MARKS[quantity.how]}"


def show_sweep(console: Console, points: Sequence[Mapping[str, object]], skipped: Sequence[Fact]) -> None:
    """Show a row for each batch size and thread count, and the skipped points."""
    if points:
        header = gettext("file|device|batch|threads|runs|latency p50|throughput").split("|")
        table(console, gettext("sweep"), header, [_point(point) for point in points])
    for skip in skipped:
        skipped_point = gettext("{subject} skipped: {reason}", subject=render_subject(skip), reason=render(skip))
        console.print(skipped_point, markup=False, highlight=False, soft_wrap=True)


LAYERS_SHOWN = 15


def show_file_details(console: Console, details: FileDetails) -> None:
    """Show the slowest layers of each file, the soak tests, and notes on both."""
    for name, rows in details.layers.items():
        shown = min(LAYERS_SHOWN, len(rows))
        title = gettext("{name}: time by layer, the {shown} slowest of {count}", name=name, shown=shown, count=len(rows))
        header = gettext("module|nodes|operators|computes in|share|time").split("|")
        table(console, title, header, [_layer(row) for row in rows[:LAYERS_SHOWN]])
        console.print()
    for name, soak in details.soaks.items():
        quantities = [
            (quantity_label(key), format_with_provenance(quantity, display_unit(key, quantity)), quantity.detail)
            for key, quantity in soak.quantities().items()
        ]
        title = gettext("{name}: {seconds:.0f} s without pause", name=name, seconds=soak.seconds)
        table(console, title, ("", "", gettext("how")), quantities)
        course = [[f"{tenth.second:.1f} s", str(tenth.runs), f"{tenth.median_ms:.3f} ms", f"{tenth.slowest_ms:.3f} ms",
                 f"{tenth.resident_bytes / 1e6:.1f} MB", _reading(tenth.clock_mhz, "MHz"), _reading(tenth.temperature_c, "°C")]
                for tenth in soak.tenths()]  # fmt: skip
        header = gettext("up to|runs|median|slowest|resident|clock|temperature").split("|")
        table(console, gettext("over time"), header, course)
        console.print()
    for note in details.notes:
        console.print(render(note), markup=False, highlight=False, soft_wrap=True)


def _layer(row: Mapping[str, object]) -> list[str]:
    share, took = (Quantity.model_validate(row[key]) for key in ("share", "time"))
    return [*_texts(row, "module", "nodes", "operators", "runs_in"), format_quantity(share), format_with_provenance(took)]


def show_quantization(console: Console, report: QuantizeReport) -> None:
    """Show by layer what runs in int8; then the conversions and the sums."""

    def took(row: Mapping[str, object], key: str) -> str:
        quantity = Quantity.model_validate(row[key])
        return "—" if quantity.value is None else f"{quantity.value:.4f}"

    header = gettext("module|nodes|kernels|runs in|float ms|quantized ms|conversions ms|why not int8").split("|")
    rows = [[*_texts(row, "module", "nodes", "operators", "runs_in"), took(row, "before_ms"), took(row, "after_ms"),
             took(row, "conversions_ms"), *_texts(row, "why")] for row in report.layers]  # fmt: skip
    title = gettext("{quantized}, quantized from {parent}", quantized=report.quantized, parent=report.parent)
    table(console, title, header, rows, words=True)
    console.print()
    columns = gettext("conversions around|isolated|quantize|dequantize|cost ms|operators ms|why").split("|")
    rows = [[*_texts(row, "around"), gettext("isolated") if row["isolated"] else "", *_texts(row, "quantize", "dequantize"),
             took(row, "conversions_ms"), took(row, "operators_ms"), *_texts(row, "why")]
            for row in report.conversions]  # fmt: skip
    title = gettext("remaining quantize and dequantize operators, the most expensive first")
    table(console, title, columns, rows, words=True)
    console.print()
    for note in report.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def _reading(number: float | None, unit: str) -> str:
    return gettext("not measured") if number is None else f"{number:.0f} {unit}"


def _texts(row: Mapping[str, object], *names: str) -> list[str]:
    return [str(row[name]) for name in names]


def _point(point: Mapping[str, object]) -> list[str]:
    return [*_texts(point, "file", "device", "batch", "threads", "runs"), *_timed(point)]


def _timed(point: Mapping[str, object]) -> list[str]:
    return [format_with_provenance(Quantity.model_validate(point[name])) for name in ("latency_p50_ms", "throughput_per_s")]


def show_verification(console: Console, verification: Verification) -> None:
    """Show the comparison, its results, and their limits."""
    for name, text in (
        (gettext("reference"), verification.reference),
        (gettext("tested"), verification.tested),
        (gettext("inputs"), verification.inputs),
    ):
        console.print(f"{set_cell_size(name, 11)}{text}", markup=False, highlight=False, soft_wrap=True)
    rows = [
        (quantity_label(name), format_with_provenance(quantity, display_unit(name, quantity)))
        for name, quantity in verification.quantities.items()
    ]
    table(console, "", (verification.model, ""), rows)
    console.print(verification.note, markup=False, highlight=False, soft_wrap=True)


def show_check(console: Console, run: Path, check: RunCheck) -> None:
    """Show missing and changed files, and whether the run is complete."""
    for word, names in (
        (gettext("missing"), check.missing),
        (gettext("changed"), check.changed),
        (gettext("unfinished"), check.unfinished),
        (gettext("not listed"), check.unlisted),
    ):
        for name in names:
            console.print(f"{set_cell_size(word, 12)}{name}", markup=False, highlight=False, soft_wrap=True)
    answer = gettext("whole") if check.whole else gettext("not intact; run its recipe again to rewrite the damaged files")
    line = gettext("{run}: {count} files as written: {answer}", run=run, count=len(check.intact), answer=answer)
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def device_rows() -> list[list[str]]:
    """Rows of `compress devices list`; for a profile that cannot be read, the command that shows the reason."""
    from compress.config.devices import device_names

    return [_device_row(name) for name in device_names()]


def _device_row(name: str) -> list[str]:
    from compress.config.devices import load_device

    try:
        device = load_device(name)
    except DeviceError:
        return [name, gettext("cannot be used; see compress devices show {name}", name=name), "", "", ""]
    return [device.name, device.title, device.kind, device.runtime, ", ".join(device.aliases)]
