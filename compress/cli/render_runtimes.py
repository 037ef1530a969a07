"""The table of `compress benchmark` on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from compress.cli.terminal import table
from compress.core.format_quantity import PROVENANCE_MARKS, format_interval, format_quantity
from compress.core.language import gettext
from compress.core.record import Quantity
from compress.profile.runtimes.compare import RuntimeResult

COLUMNS = ("metric", "latency_p50_ms", "latency_p99_ms", "size_bytes", "load_ms", "memory_bytes")
CARRIED = {
    "nothing": "",
    "all": "as in the ONNX file",
    "symmetric": "ranges, made symmetric",
    "weights": "weights; activations by the runtime",
    "unused": "not used: computes in float",
}
"""What a converted file holds of the quantization, for people."""


def show_runtimes(console: Console, results: Sequence[RuntimeResult]) -> None:
    """Show a row for each runtime and file; the fastest that keeps the metric first, then reasons of the others."""
    measured = sorted((each for each in results if not each.reason), key=_latency)
    header = gettext("network|numbers|runtime|metric|p50|p99|size|load|memory|top-1 agreement|difference|quantization").split(
        "|"
    )
    table(console, gettext("runtimes, timed in turns"), ["", *header], [_cells(result) for result in measured])
    for result in results:
        if result.reason:
            console.print(f"{result.entrant.name}: {result.reason}", markup=False, highlight=False, soft_wrap=True)
    best = next((result for result in results if result.fastest), None)
    for note in _notes(results, best):
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def _notes(results: Sequence[RuntimeResult], best: RuntimeResult | None) -> list[str]:
    notes = []
    energy = next((each.quantities["energy_j"] for each in results if "energy_j" in each.quantities), None)
    if energy is not None and energy.value is None:
        notes.append(gettext("energy not measured: {reason}", reason=energy.detail))
    with_metric = any("metric" in each.quantities for each in results)
    if best is None:
        notes.append(gettext("no row keeps the metric of the float file") if with_metric else gettext("no row agrees"))
    elif with_metric:
        notes.append(gettext("▸ fastest that keeps the metric: {name}", name=best.entrant.name))
    else:
        notes.append(
            gettext(
                "▸ fastest whose outputs agree with its ONNX file: {name}; for the metric give --data, on this machine",
                name=best.entrant.name,
            )
        )
    return notes


def _latency(result: RuntimeResult) -> float:
    value = result.quantities["latency_p50_ms"].value
    return float("inf") if value is None else value


def _cells(result: RuntimeResult) -> list[str]:
    entrant, agreement = result.entrant, result.agreement
    mark = "▸" if result.fastest else ("" if result.keeps else "✗")
    cells = [mark, entrant.subject, entrant.precision, result.version or entrant.runtime]
    cells += [_value(result.quantities.get(name)) for name in COLUMNS]
    cells.append("" if agreement is None or agreement.top1 is None else f"{agreement.top1:.1%}")
    cells.append("" if agreement is None else f"{agreement.difference:.2g}")
    return [*cells, gettext(CARRIED[entrant.carried]) if entrant.carried else ""]


def _value(quantity: Quantity | None) -> str:
    if quantity is None:
        return ""
    if quantity.value is None:
        return PROVENANCE_MARKS[quantity.how]
    interval = format_interval(quantity)
    return f"{format_quantity(quantity)}{f' ({interval})' if interval else ''}"
