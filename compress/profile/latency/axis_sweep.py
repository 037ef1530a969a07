"""Latency of a file at several sizes of one free axis, such as the sequence length, in one interleaved session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from compress.backends.open_runner import open_runner
from compress.backends.runner_protocol import Feeds, pinned
from compress.config.devices import Device
from compress.core.entries import Row
from compress.core.errors import ConversionError, DeviceError
from compress.core.fact import Fact
from compress.core.language import gettext, message_of
from compress.core.progress import Reporter
from compress.core.record import Quantity
from compress.profile.latency.timing import time_runners
from compress.profile.settings import MeasurementSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = tuple[Row, ...]


def sweep_axis(
    path: Path,
    axis: str,
    feeds: Mapping[int, Feeds],
    device: Device,
    plan: MeasurementSettings,
    *,
    batch: int,
    reporter: Reporter,
) -> tuple[Rows, tuple[Fact, ...]]:
    """Time a file at every size of an axis on this machine, each size in an inference session of its own.

    Args:
        path: ONNX file.
        axis: Name of the axis.
        feeds: Inputs by size.
        device: Profile of this machine.
        plan: Settings; `seconds` is the timing per size, without warm-up.
        batch: Samples per run.
        reporter: Shows a progress bar.

    Returns:
        Rows, one per size: `file`, `device`, `axis`, `size`, `batch`, `runs`, and the quantities `latency_p50_ms` and
        `throughput_per_s` as JSON; facts on the sizes at which the file does not run.

    Raises:
        ConversionError: The file cannot be loaded.
        DeviceError: The runtime or a processor to pin to does not exist.
    """
    skipped = []
    with pinned(plan.affinity), ExitStack() as stack:
        runners = {}
        for size, inputs in feeds.items():
            runner = stack.enter_context(open_runner(plan.runtime, path, threads=plan.threads))
            try:
                runner.run(inputs)
            except (ConversionError, DeviceError) as error:
                skipped.append(Fact.of("profile.sweep_size_failed", path.name, axis=axis, size=size, error=message_of(error)))
            else:
                runners[str(size)] = runner
        feeds_by_name = {name: feeds[int(name)] for name in runners}
        timings = time_runners(runners, feeds_by_name, plan.timing, batch=batch, reporter=reporter) if runners else {}
    rows = tuple(
        {
            "file": path.name,
            "device": device.name,
            "axis": axis,
            "size": int(size),
            "batch": batch,
            "runs": len(timing.milliseconds),
            "latency_p50_ms": timing.p50.model_dump(mode="json"),
            "throughput_per_s": timing.throughput.model_dump(mode="json"),
        }
        for size, timing in timings.items()
    )
    return rows, tuple(skipped)


def draw_sweep(rows: Sequence[Mapping[str, object]], *, as_svg: bool = False) -> bytes:
    """Plot median latency with its interval against the size of the axis, one line per file.

    Args:
        rows: Of `sweep_axis`.
        as_svg: Whether to return an SVG, whose labels are in the language in use, in place of a PNG.
    """
    from compress.core.plot_style import language_of_figure, to_png, to_svg

    with language_of_figure(as_svg=as_svg):
        figure = _sweep_figure(rows)
    return to_svg(figure) if as_svg else to_png(figure)


def _sweep_figure(rows: Sequence[Mapping[str, object]]) -> Figure:
    from compress.core.plot_style import COLORS, error_bar, escape_text, new_figure, style_axes

    figure = new_figure(7.2, 3.7)
    axes = figure.add_subplot()
    files = dict.fromkeys(str(row["file"]) for row in rows)
    for index, file in enumerate(files):
        file_rows = [row for row in rows if row["file"] == file]
        quantities = [Quantity.model_validate(row["latency_p50_ms"]) for row in file_rows]
        bars = [error_bar(quantity, 1.0) for quantity in quantities]
        spread = [[low[0] for low, _ in bars], [high[0] for _, high in bars]]
        values = [quantity.value or 0.0 for quantity in quantities]
        sizes = [int(str(row["size"])) for row in file_rows]
        axes.errorbar(sizes, values, yerr=spread, marker="o", color=COLORS[index % len(COLORS)], label=escape_text(file))
    names = ", ".join(dict.fromkeys(str(row["axis"]) for row in rows))
    axes.set_xlabel(escape_text(gettext("size of axis {names}", names=names)))
    axes.set_ylabel(gettext("median latency, ms"))
    axes.set_ylim(bottom=0)
    style_axes(axes)
    axes.legend(frameon=False, fontsize=8)
    return figure
