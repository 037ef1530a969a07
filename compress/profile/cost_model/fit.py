"""Fit a cost model of a machine: random networks, timed kernel by kernel, in under five minutes.

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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from scipy.optimize import nnls

from compress.backends.runner_protocol import pinned
from compress.config.devices import Device
from compress.config.devices.connection import Ssh
from compress.core.atomic_files import DISK_ERRORS
from compress.core.errors import DeviceError, StoreError
from compress.core.progress import NullReporter, Reporter
from compress.profile.cost_model.calibration_file import Accuracy, Calibration, Rates, this_processor
from compress.profile.cost_model.estimate import NS_PER_MS, kernel_parts
from compress.profile.cost_model.kernel_counts import L2_BYTES, L3_BYTES, CountedKernel, count_kernels
from compress.profile.cost_model.kernel_shapes import Shape
from compress.profile.cost_model.optimized_graph import read_optimized_graph
from compress.profile.cost_model.random_networks import random_network
from compress.profile.layers.ort_profile import GRAPH, KernelLatencies, profile_kernels

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
RESOLUTION_NS = 3000.0
"""Times below this are no longer weighed by relative error: the runtime's stamps count whole microseconds."""
COUNTS = (
    "macs", "tiles", "im2col_elements", "partial_sums", "unaligned_macs", "copies", "rows", "pieces", "outputs", "inputs",
    "l2_spill_bytes", "l2_miss_bytes", "llc_miss_bytes",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class NetworkSample:
    """One network as it ran.

    Attributes:
        network: Its number; fp32 and int8 of one network share it.
        kernels: What was run.
        nanoseconds: Of each, without what stamping adds, (n,).
        total_ns: Of a whole inference that was not stamped.
    """

    network: int
    kernels: tuple[CountedKernel, ...]
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
        device: A profile of this machine, or one with an SSH connection.
        quantize: Makes the int8 network of a float one, as it will be made of networks that are to be estimated.
        threads: Within an operator.
        seconds: Time to spend.
        reporter: Shows a bar.

    Raises:
        DeviceError: The device is not in reach, runs something else than ONNX Runtime on a CPU, or the time was too short.
        StoreError: The folder for temporary files is full.
    """
    _check(device)
    start, say = time.monotonic(), reporter or NullReporter()
    if isinstance(device.connection, Ssh):
        from compress.profile.cost_model.remote_fit import collect_remote_samples

        samples, machine = collect_remote_samples(device, quantize, threads=threads, seconds=seconds, reporter=say)
    else:
        found = this_processor(device.hardware)
        assert found is not None  # noqa: S101  _check looked
        machine = found
        with pinned(device.contract.affinity):
            samples = collect_samples(quantize, threads=threads, seconds=seconds, caches=machine.caches_bytes, reporter=say)
    return Calibration(
        device=device.name,
        cpu=machine.cpu,
        instruction_sets=machine.instruction_sets,
        caches_bytes=machine.caches_bytes,
        runtime=machine.runtime,
        threads=threads,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        accuracy=cross_validate(samples),
        rates=fit(samples),
        seconds=time.monotonic() - start,
    )


def _check(device: Device) -> None:
    if device.connection is None or (device.connection == "local" and device.hardware is None):
        msg = (
            f"{device.name!r} is not this machine and its profile has no connection: give it `connection: {{ssh: HOST}}`, "
            "or run `compress devices calibrate host` on it"
        )
        raise DeviceError(msg)
    if device.runtime != "onnxruntime" or device.kind != "cpu":
        msg = f"{device.name!r} runs {device.runtime} on a {device.kind}; only ONNX Runtime on a CPU can be calibrated"
        raise DeviceError(msg)


def collect_samples(
    quantize: Quantize, *, threads: int, seconds: float, caches: Mapping[str, int], reporter: Reporter
) -> tuple[NetworkSample, ...]:
    """Time networks on this machine one after the other until the time is spent.

    Raises:
        DeviceError: Too few networks fit into the time to leave some out.
        StoreError: The folder for temporary files is full.
    """
    found: list[NetworkSample] = []
    start, number, shown = time.monotonic(), 0, 0
    with temporary_folder() as folder, reporter.bar("timing random networks", int(seconds)) as bar:
        while number < MOST and (spent := time.monotonic() - start) < seconds:
            bar.advance(int(spent) - shown, note=f"{number} networks")
            shown = int(spent)
            model = random_network(number)
            made = (model, quantize(model))
            found += [time_network(number, one, folder, cache_sizes(caches), threads=threads) for one in made]
            number += 1
    return require_networks(found, seconds)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A temporary folder.

    Raises:
        StoreError: It is full.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield Path(folder)
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            msg = f"cannot write to {folder}: {error.strerror}; free some space, or name another folder by TMPDIR"
            raise StoreError(msg) from error


def cache_sizes(caches: Mapping[str, int]) -> tuple[int, int]:
    """Bytes of the second-level and of the last-level cache, of a common machine where the system does not tell."""
    return caches.get("L2", L2_BYTES), caches.get("L3", L3_BYTES)


def require_networks(samples: Sequence[NetworkSample], seconds: float) -> tuple[NetworkSample, ...]:
    """The samples, if there are enough networks to leave some out.

    Raises:
        DeviceError: There are not.
    """
    networks = len({sample.network for sample in samples})
    if networks < 2 * FOLDS:
        msg = f"{networks} networks were timed in {seconds:g} s; {2 * FOLDS} at least are needed: allow more time"
        raise DeviceError(msg)
    return tuple(samples)


def time_network(number: int, model: onnx.ModelProto, folder: Path, caches: tuple[int, int], *, threads: int) -> NetworkSample:
    """Run one network on this machine."""
    path = folder / f"{number}.onnx"
    onnx.save(name_nodes(model), path)
    stamps = profile_kernels(path, folder, threads=threads)
    found = build_sample(number, stamps, *read_optimized_graph(folder / GRAPH, path), caches)
    path.unlink()
    return found


def name_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network, whose nodes have names by which stamps find their kernels."""
    for place, node in enumerate(model.graph.node):
        node.name = f"n{place}"
    return model


def build_sample(
    number: int, stamps: KernelLatencies, graph: onnx.GraphProto, shapes: Mapping[str, Shape], caches: tuple[int, int]
) -> NetworkSample:
    """What was stamped, with the counts of its kernels.

    Args:
        number: Of the network.
        stamps: Of its kernels.
        graph: What was run.
        shapes: Of its tensors.
        caches: Bytes of the second-level and of the last-level cache.
    """
    kernels = {kernel.name: kernel for kernel in count_kernels(graph, shapes, caches)}
    return NetworkSample(number, tuple(kernels[name] for name in stamps.names), stamps.nanoseconds, stamps.total_ns)


def fit(samples: Iterable[NetworkSample]) -> dict[str, Rates]:
    """Rates of every class with enough kernels, and of the pools."""
    counts, times = defaultdict(list), defaultdict(list)
    for sample in samples:
        for kernel, nanoseconds in zip(sample.kernels, sample.nanoseconds, strict=True):
            for kind in (kernel.kind, kernel.pool):
                counts[kind].append([kernel.counts.get(name, 0.0) for name in COUNTS])
                times[kind].append(nanoseconds)
    return {
        kind: nnls_fit(np.array(counts[kind]), np.array(times[kind])) for kind in sorted(counts) if len(times[kind]) >= FEWEST
    }


def nnls_fit(counts: Vector, nanoseconds: Vector) -> Rates:
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


def cross_validate(samples: Sequence[NetworkSample]) -> Accuracy:
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


def _total_ns(kernels: Iterable[CountedKernel], rates: Mapping[str, Rates]) -> float:
    return NS_PER_MS * sum(sum(kernel_parts(kernel, rates).values()) for kernel in kernels)


def describe_calibration(found: Calibration) -> str:
    """One sentence for people."""
    accuracy, threads = found.accuracy, f"{found.threads} thread{'s' * (found.threads > 1)}"
    return (
        f"{found.cpu}, {found.runtime}, {threads}: {len(found.rates)} classes of kernels in {found.seconds:.0f} s; "
        f"mean error {accuracy.mean:.1%} on {accuracy.networks} random networks left out in turns, "
        f"95 % of them between {accuracy.low - 1:+.0%} and {accuracy.high - 1:+.0%} of the estimate"
    )
