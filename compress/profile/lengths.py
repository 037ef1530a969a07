"""Rows by sequence length for the `profile` stage and for files: measured on this machine, or estimated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compress.backends.feeds import fit_feeds, resize_axis
from compress.backends.file_signature import read_signature
from compress.backends.read_graph import graph_shapes
from compress.backends.runner_protocol import Array, Feeds
from compress.config.devices import Device
from compress.core.entries import Row
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.progress import Reporter
from compress.core.record import LengthRow, Metrics, Quantity
from compress.core.signature import Signature
from compress.profile.cost_model import estimate as cost
from compress.profile.file_inputs import FileInputs
from compress.profile.latency.by_length import (
    UNITS,
    FeedsAt,
    LengthGrid,
    length_axis,
    length_grid,
    measure_lengths,
    times,
)
from compress.profile.own_tokens import within_table
from compress.profile.settings import MeasurementSettings


def at_typical_length(arrays: Feeds, signature: Signature, axis: str | None) -> dict[str, Array]:
    """Inputs at the typical length of the network, whatever length the samples have; unchanged without an axis of tokens."""
    if axis is None or axis not in signature.sizes:
        return dict(arrays)
    return resize_axis(arrays, signature, axis, signature.sizes[axis].typical)


def feeds_of_data(files: Mapping[str, Path], samples: Mapping[int, Feeds], signature: Signature, axis: str) -> FeedsAt:
    """Inputs of each file by batch size and length, from samples of the data: cut, or repeated along the axis.

    Args:
        files: ONNX files by subject.
        samples: Samples by batch size.
        signature: Signature of the network.
        axis: Axis of tokens.
    """
    shapes = {name: graph_shapes(path) for name, path in files.items()}
    fitted = {name: {batch: within_table(each, path) for batch, each in samples.items()} for name, path in files.items()}

    def feeds_at(name: str, batch: int, length: int) -> Feeds:
        return fit_feeds(resize_axis(fitted[name][batch], signature, axis, length), shapes[name], files[name])

    return feeds_at


def estimate_lengths(files: Mapping[str, Path], feeds_at: FeedsAt, grid: LengthGrid, device: Device) -> tuple[LengthRow, ...]:
    """Estimated latency of files by length at batch 1, for a device that is not connected; memory is not estimated."""
    return tuple(
        LengthRow(
            subject=subject,
            device=device.name,
            runtime=gettext("{runtime} (assumed)", runtime=device.runtime),
            axis=grid.axis,
            length=length,
            batch=1,
            quantities=_estimate(path, subject, length, (feeds_at, grid, device)),
        )
        for length in grid.lengths
        for subject, path in files.items()
    )


def _estimate(path: Path, subject: str, length: int, context: tuple[FeedsAt, LengthGrid, Device]) -> Metrics:
    feeds_at, grid, device = context
    absent = gettext("{title} is not connected", title=device.title)
    quantities = {name: Quantity.missing(unit, absent) for name, unit in UNITS.items()}
    if grid.most is not None and length > grid.most:
        reason = gettext("the network takes at most {most} tokens", most=grid.most)
        return {name: Quantity.missing(unit, reason) for name, unit in UNITS.items()}
    try:
        latency = cost.latency(path, device, feeds_at(subject, 1, length))
    except CompressError as error:
        return quantities | {"latency_p50_ms": Quantity.missing("ms", str(error))}
    value, low, high = (number or 0.0 for number in (latency.value, latency.low, latency.high))
    rate = Quantity.estimated(1000 / value, "1/s", latency.detail, band=(1000 / high, 1000 / low))
    return quantities | {"latency_p50_ms": latency, "throughput_per_s": rate, "tokens_per_s": times(rate, length)}


@dataclass(frozen=True)
class LengthRequest:
    """What `compress profile --lengths` measures.

    Attributes:
        lengths: Sequence lengths; empty measures none.
        batches: Batch sizes besides 1.
        threads: Threads within an operator.
        seconds: Timing per file and point, without warm-up.
    """

    lengths: tuple[int, ...]
    batches: tuple[int, ...] = ()
    threads: int = 1
    seconds: float = 2.0


def measure_file_lengths(
    files: Mapping[str, Path],
    devices: Sequence[Device],
    inputs: Mapping[str, FileInputs],
    request: LengthRequest,
    reporter: Reporter,
) -> tuple[tuple[LengthRow, ...], tuple[Fact, ...]]:
    """Measure files by sequence length on this machine, and estimate them for devices that are not connected.

    Args:
        files: ONNX files by name.
        devices: Device profiles.
        inputs: Inputs by name of the file.
        request: What to measure.
        reporter: Shows progress bars.

    Returns:
        Rows; facts on files without a free axis of tokens, and on devices over SSH.

    Raises:
        ConversionError: A file cannot be loaded.
        DeviceError: The runtime or a processor to pin to does not exist.
    """
    if not request.lengths:
        return (), ()
    signatures = {name: read_signature(path) for name, path in files.items()}  # those of `inputs` have sizes of one run
    axes = {name: axis for name, signature in signatures.items() if (axis := length_axis(signature)) is not None}
    skipped = [Fact.of("profile.no_length_axis", name) for name in files if name not in axes]
    rows: tuple[LengthRow, ...] = ()
    grid = next((length_grid(signatures[name], request.lengths, request.batches) for name in axes), None)
    if grid is None:
        return (), tuple(skipped)
    chosen = {name: files[name] for name in axes}

    def feeds_at(name: str, batch: int, length: int) -> Feeds:
        return replace(inputs[name], batch=None).feeds(batch, sizes={axes[name]: length})

    for device in devices:
        if device.connection not in (None, "local"):
            skipped.append(Fact.of("profile.lengths_not_local", device.name))
            continue
        if device.connection is None:
            rows += estimate_lengths(chosen, feeds_at, grid, device)
            continue
        plan = MeasurementSettings.of(device, threads=request.threads, seconds=request.seconds)
        rows += measure_lengths(chosen, feeds_at, grid, plan, device=device.name, reporter=reporter)
    return tuple(row.model_copy(update={"axis": axes[row.subject]}) for row in rows), tuple(skipped)


def sweep_rows(rows: Sequence[LengthRow]) -> tuple[Row, ...]:
    """Rows with a latency at batch 1 in the form of `axis_sweep`, for its picture."""
    return tuple(
        {
            "file": f"{row.subject}, {row.device}",
            "axis": row.axis,
            "size": row.length,
            "latency_p50_ms": row.quantities["latency_p50_ms"].model_dump(mode="json"),
        }
        for row in rows
        if row.batch == 1 and row.quantities["latency_p50_ms"].value is not None
    )
