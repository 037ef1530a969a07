"""Fit a cost model on this machine: random networks, timed kernel by kernel, in under five minutes.

    time of a kernel = overhead + Σ price × count                     prices ≥ 0, one set for each class of kernel

The counts are those of `kernels`: arithmetic, loads, bytes by the level of memory they come from. Prices are found by
non-negative least squares of relative errors (Lawson & Hanson 1974, *Solving Least Squares Problems*, chapter 23). A regression
for each kind of kernel that the runtime fuses, summed over the network, is the way of nn-Meter (Zhang et al. 2021, "nn-Meter:
towards accurate latency prediction of deep-learning model inference on diverse edge devices", MobiSys). Here the runtime itself
tells what it fuses, and the regression keeps units that can be read: nanoseconds for a multiply-accumulate, a byte, a start.

How far estimates are off is told by leaving out a fifth of the networks in turn.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from scipy.optimize import nnls  # type: ignore[import-untyped]

from compress.devices import Device
from compress.devices.calibration import Accuracy, Calibration, Rates, runtime
from compress.errors import DeviceError
from compress.profile.cost import NS_PER_MS, kernel_parts
from compress.profile.kernels import L2_BYTES, L3_BYTES, Kernel, read
from compress.profile.layers import middle_mean, split
from compress.profile.optimized import Stamping
from compress.profile.runners.onnxruntime import Runner
from compress.profile.specimens import specimen
from compress.progress import Reporter, Silent

Quantize = Callable[[onnx.ModelProto], onnx.ModelProto]
Vector = npt.NDArray[np.float64]
BUDGET_S = 200.0
"""Time to spend; fitting and the last network come on top."""
MOST = 200
"""Networks after which more would add nothing."""
FOLDS = 5
ROUNDS = 5
"""Of the fit: errors are weighed by what was expected, for weighed by what was seen, low outliers would count most."""
FEWEST = 12
"""Kernels that a class needs for prices of its own."""
SLICES, SLICE_MS = 3, 15.0
"""Of each network: turns, and the length of one."""
RESOLUTION_NS = 3000.0
"""Times below this are no longer weighed by relative error: the runtime's stamps count whole microseconds."""
COUNTS = (
    "macs", "tiles", "patches", "sums", "ragged", "copies", "rows", "pieces", "outputs", "inputs", "spilled", "near", "far",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Sample:
    """One network as it ran.

    Attributes:
        network: Its number; fp32 and int8 of one network share it.
        kernels: What was run.
        nanoseconds: Of each, without what stamping adds, (n,).
        total_ns: Of a whole inference that was not stamped.
    """

    network: int
    kernels: tuple[Kernel, ...]
    nanoseconds: Vector
    total_ns: float


def calibrate(
    device: Device,
    quantize: Quantize,
    *,
    threads: int = 1,
    seconds: float = BUDGET_S,
    reporter: Reporter | None = None,
) -> Calibration:
    """Time random networks in fp32 and int8, and fit their kernels.

    Args:
        device: A profile of this machine.
        quantize: Makes the int8 network of a float one, as it will be made of networks that are to be estimated.
        threads: Within an operator.
        seconds: Time to spend.
        reporter: Shows a bar.

    Raises:
        DeviceError: The device is not this machine, runs something else than ONNX Runtime, or the time was too short.
    """
    _check(device)
    machine = device.hardware
    assert machine is not None  # noqa: S101  _check looked
    start = time.monotonic()
    samples = take(quantize, threads=threads, seconds=seconds, caches=machine.caches_bytes, reporter=reporter or Silent())
    return Calibration(
        device=device.name,
        cpu=machine.cpu,
        instruction_sets=machine.instruction_sets,
        caches_bytes=machine.caches_bytes,
        runtime=runtime(),
        threads=threads,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        accuracy=left_out(samples),
        rates=fit(samples),
        seconds=time.monotonic() - start,
    )


def _check(device: Device) -> None:
    if device.connection != "local" or device.hardware is None:
        msg = f"{device.name!r} is not this machine; calibrate where it runs: on it, `compress devices calibrate host`"
        raise DeviceError(msg)
    if device.runtime != "onnxruntime":
        msg = f"{device.name!r} runs {device.runtime}; only ONNX Runtime on a CPU can be calibrated"
        raise DeviceError(msg)


def take(
    quantize: Quantize, *, threads: int, seconds: float, caches: Mapping[str, int], reporter: Reporter
) -> tuple[Sample, ...]:
    """Time networks one after the other until the time is spent.

    Raises:
        DeviceError: Too few networks fit into the time to leave some out.
    """
    found: list[Sample] = []
    start, number, shown = time.monotonic(), 0, 0
    sizes = caches.get("L2", L2_BYTES), caches.get("L3", L3_BYTES)
    with tempfile.TemporaryDirectory() as folder, reporter.bar("timing random networks", int(seconds)) as bar:
        while number < MOST and (spent := time.monotonic() - start) < seconds:
            bar.advance(int(spent) - shown, note=f"{number} networks")
            shown = int(spent)
            model = specimen(number)
            found += [timed(number, made, Path(folder), sizes, threads=threads) for made in (model, quantize(model))]
            number += 1
    if number < 2 * FOLDS:
        msg = f"{number} networks were timed in {seconds:g} s; {2 * FOLDS} at least are needed: allow more time"
        raise DeviceError(msg)
    return tuple(found)


def timed(number: int, model: onnx.ModelProto, folder: Path, caches: tuple[int, int], *, threads: int) -> Sample:
    """Run one network in turns with and without stamps.

    What stamping adds to a kernel, and what lies between two kernels, is told by the difference of the two and spread evenly.
    """
    path = folder / f"{number}.onnx"
    for place, node in enumerate(model.graph.node):
        node.name = f"n{place}"  # by which stamps find their kernels
    onnx.save(model, path)
    plain, marks = [], []
    with Runner(path, threads=threads) as runner, Stamping(path, folder, threads=threads) as stamping:
        feeds = {
            name: np.random.default_rng(0).normal(size=value.shape).astype(np.float32)
            for name, value in runner.sample().items()
        }
        once = min(_clocked(runner, feeds), _clocked(runner, feeds), _clocked(stamping, feeds))
        runs = max(2, min(20, round(SLICE_MS / once)))
        marks.append(False)
        for _ in range(SLICES):
            plain += [_clocked(runner, feeds) for _ in range(runs + 1)][1:]
            for _ in range(runs + 1):
                stamping.run(feeds)
            marks += [False, *[True] * runs]
        events = [run for run, counted in zip(split(stamping.stamps()), marks, strict=True) if counted]
        graph, shapes = stamping.graph()
    path.unlink()
    kernels = {kernel.name: kernel for kernel in read(graph, shapes, caches)}
    ran = [kernels[event["name"].removesuffix("_kernel_time")] for event in events[0]]
    stamped = np.array([middle_mean(np.array([run[place]["dur"] * 1e3 for run in events])) for place in range(len(ran))])
    total = middle_mean(np.array(plain)) * 1e6
    return Sample(number, tuple(ran), np.maximum(stamped - (stamped.sum() - total) / len(ran), 50.0), total)


def _clocked(runner: Runner, feeds: Any) -> float:
    start = time.perf_counter_ns()
    runner.run(feeds)
    return (time.perf_counter_ns() - start) / 1e6


def fit(samples: Iterable[Sample]) -> dict[str, Rates]:
    """Rates of every class with enough kernels, and of the pools."""
    counts, times = defaultdict(list), defaultdict(list)
    for sample in samples:
        for kernel, nanoseconds in zip(sample.kernels, sample.nanoseconds, strict=True):
            for kind in (kernel.kind, kernel.pool):
                counts[kind].append([kernel.counts.get(name, 0.0) for name in COUNTS])
                times[kind].append(nanoseconds)
    return {
        kind: prices(np.array(counts[kind]), np.array(times[kind])) for kind in sorted(counts) if len(times[kind]) >= FEWEST
    }


def prices(counts: Vector, nanoseconds: Vector) -> Rates:
    """Non-negative prices that minimise the squared error, relative to the time expected.

    Args:
        counts: (n, counts), in the order of `COUNTS`.
        nanoseconds: (n,).
    """
    table = np.column_stack([counts, np.ones(len(counts))])
    expected = nanoseconds
    for _ in range(ROUNDS):
        weight = 1 / (expected + RESOLUTION_NS)
        scale = np.maximum((table * weight[:, None]).max(axis=0), 1e-30)
        found = nnls(table * weight[:, None] / scale, nanoseconds * weight)[0] / scale
        expected = table @ found
    return Rates(
        overhead_ns=float(found[-1]),
        prices_ns={name: float(price) for name, price in zip(COUNTS, found[:-1], strict=True) if price > 0},
        samples=len(nanoseconds),
    )


def left_out(samples: Sequence[Sample]) -> Accuracy:
    """Errors on each fifth of the networks, estimated by a fit on the others."""
    ratios = []
    for fold in range(FOLDS):
        rates = fit(sample for sample in samples if sample.network % FOLDS != fold)
        apart = (sample for sample in samples if sample.network % FOLDS == fold)
        ratios += [_total_ns(sample.kernels, rates) / sample.total_ns for sample in apart]
    found = np.array(ratios)
    low, high = np.quantile(1 / found, [0.025, 0.975])
    networks = len({sample.network for sample in samples})
    return Accuracy(mean=float(np.abs(found - 1).mean()), low=float(low), high=float(high), networks=networks)


def _total_ns(kernels: Iterable[Kernel], rates: Mapping[str, Rates]) -> float:
    return NS_PER_MS * sum(sum(kernel_parts(kernel, rates).values()) for kernel in kernels)


def summary(found: Calibration) -> str:
    """One sentence for people."""
    accuracy, threads = found.accuracy, f"{found.threads} thread{'s' * (found.threads > 1)}"
    return (
        f"{found.cpu}, {found.runtime}, {threads}: {len(found.rates)} classes of kernels in {found.seconds:.0f} s; "
        f"mean error {accuracy.mean:.1%} on {accuracy.networks} random networks left out in turns, "
        f"95 % of them between {accuracy.low - 1:+.0%} and {accuracy.high - 1:+.0%} of the estimate"
    )
