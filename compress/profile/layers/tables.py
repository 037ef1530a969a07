"""Tables of layer times, for one file or for two files of one network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from compress.backends.runner_protocol import Array
from compress.core.counted import threads_text
from compress.core.entries import Row
from compress.core.language import gettext
from compress.core.record import Quantity
from compress.profile.layers.layer_times import CONVERTING, OWN, LayerTimes, TimedKernel
from compress.profile.layers.ort_profile import interquartile_mean

Rows = tuple[Row, ...]
"""Rows of a table as plain JSON, quantities included."""
RESAMPLES = 300
"""Number of bootstrap resamples per interval."""


def duration(kernels: list[TimedKernel], detail: str) -> Quantity:
    """Interquartile mean over the runs of the summed time of several kernels, with an interval."""
    total = np.sum([kernel.milliseconds for kernel in kernels], axis=0)
    interval = _interval(total) if len(total) > 1 else None
    return Quantity.measured(interquartile_mean(total), "ms", detail, interval=interval, runs=len(total))


def _interval(total: Array) -> tuple[float, float]:
    """95 % interval of `interquartile_mean` by the percentile bootstrap; vectorized, because a table has hundreds of them."""
    n = len(total)
    resampled = np.sort(total[np.random.default_rng(0).integers(0, n, (RESAMPLES, n))], axis=1)
    low, high = np.quantile(resampled[:, n // 4 : n - n // 4].mean(1), (0.025, 0.975))
    point = interquartile_mean(total)
    return min(point, float(low)), max(point, float(high))


def table(layers: LayerTimes) -> Rows:
    """One row per module, slowest first: `module`, `nodes`, `operators`, `runs_in`, and the quantities `time` and `share`.

    The mean of the middle half of a sum is not the sum of such means, so that shares are of the kernels' own means: they add up
    to 1.
    """
    groups: dict[str, list[TimedKernel]] = {}
    for kernel in layers.kernels:
        groups.setdefault(kernel.module, []).append(kernel)
    detail = detail_of(layers)
    rows = []
    for module, kernels in groups.items():
        time = duration(kernels, detail)
        own_ms = sum(interquartile_mean(kernel.milliseconds) for kernel in kernels)
        share = Quantity.measured(own_ms / layers.summed_ms, "fraction", gettext("of the sum of all layers"))
        rows.append({"module": module_words(module), **_description(kernels), "time": time, "share": share})
    return rows_as_json(sorted(rows, key=lambda row: -milliseconds(row, "time")))


def compare(before: LayerTimes, after: LayerTimes, names: tuple[str, str] = ("student_ms", "artifact_ms")) -> Rows:
    """Times of each torch module in two files of one network, slowest first.

    The runtime may fuse nodes in one file and not in the other. So a kernel of `after` belongs to the module whose kernel in
    `before` contains one of its nodes.

    Args:
        before: Times of the first file.
        after: Times of the second file.
        names: Column names of the two times.

    Returns:
        Rows with `module`, `nodes`, `operators`, `runs_in` and the two times; the time of a module without a kernel of its own
        is missing with the reason.
    """
    module_by_node = {name: kernel.module for kernel in before.kernels for name in kernel.names}
    groups: dict[str, tuple[list[TimedKernel], list[TimedKernel]]] = {}
    for kernel in before.kernels:
        groups.setdefault(kernel.module, ([], []))[0].append(kernel)
    for kernel in after.kernels:
        module = next((module_by_node[name] for name in kernel.names if name in module_by_node), kernel.module)
        groups.setdefault(module, ([], []))[1].append(kernel)
    rows = []
    for module, (kernels_before, kernels_after) in groups.items():
        times = {
            name: duration(kernels, detail_of(layers))
            if kernels
            else Quantity.missing("ms", gettext("no kernel of its own: fused or removed"))
            for name, kernels, layers in zip(names, (kernels_before, kernels_after), (before, after), strict=True)
        }
        rows.append({"module": module_words(module), **_description(kernels_after or kernels_before), **times})
    return rows_as_json(sorted(rows, key=lambda row: -max(milliseconds(row, name) for name in names)))


def module_words(module: str) -> str:
    """The name of a torch module; in words the kernels that belong to none."""
    return gettext(module) if module in (OWN, CONVERTING) else module


def _description(kernels: list[TimedKernel]) -> dict[str, str]:
    return {
        "nodes": ", ".join(dict.fromkeys(name for kernel in kernels for name in kernel.names)),
        "operators": ", ".join(dict.fromkeys(kernel.operator for kernel in kernels)),
        "runs_in": ", ".join(dict.fromkeys(kernel.compute_type for kernel in kernels)),
    }


def detail_of(layers: LayerTimes) -> str:
    """Description of how the times of a file were measured."""
    threads = layers.settings["threads"]
    return gettext(
        "profiler of {runtime}, {threads}, mean of the middle half of the runs, overhead of the profiler subtracted",
        runtime=layers.settings["runtime"],
        threads=threads_text(threads),
    )


def milliseconds(row: Row, name: str) -> float:
    """A time in a row before its conversion to JSON; 0 if it was not measured."""
    time = row[name]
    return time.value or 0.0 if isinstance(time, Quantity) else 0.0


def rows_as_json(rows: Iterable[Mapping[str, object]]) -> Rows:
    """Rows with quantities as plain JSON."""
    return tuple(
        {key: item.model_dump(mode="json") if isinstance(item, Quantity) else item for key, item in row.items()} for row in rows
    )
