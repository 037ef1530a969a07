"""What every runtime offers to the profiler: four methods, freed by `with`.

with Runner(path, threads=1) as runner:      # loads
    outputs = runner.run(feeds)              # one blocking inference
    runner.describe()                        # settings, for the record

`run` raises `ConversionError` for inputs that do not fit and `DeviceError` when the device runs out of memory. A runner whose
device is apart from the host also tells copies and computation apart, see `PhaseTimer`.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import numpy as np

from compress.core.errors import ConversionError, DeviceError
from compress.core.memory_errors import is_out_of_memory

Array = np.ndarray
Feeds = Mapping[str, Array]
"""Inputs by name."""
Shapes = Mapping[str, tuple[tuple[int | str | None, ...], str]]
"""Shape and NumPy type name by input name; a free dimension is a string or None."""


CONTROL_FLOW = re.compile(r"running (If|Loop|Scan) node\. Name:'([^']*)'")
"""ONNX Runtime's message where an operator inside a branch or a loop fails; names the outermost node."""


class Runner(Protocol):
    """One model loaded in one runtime."""

    def __enter__(self) -> Self:
        """Load the model and take what it needs."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Free everything."""

    def run(self, feeds: Feeds) -> list[Array]:
        """Infer once and wait for the answer."""

    def describe(self) -> dict[str, str]:
        """Runtime, version and every setting that affects speed."""


class FileRunner(Runner, Protocol):
    """A runner of a file that knows its inputs."""

    path: Path

    def shapes(self) -> Shapes:
        """Shape and NumPy type of each input."""


@runtime_checkable
class Reloadable(Protocol):
    """A runner that can be loaded anew, into other memory, in about the time of an inference or a few."""

    def reload(self) -> None:
        """Load again what is loaded."""


def reload(runners: Collection[Runner], turn: int) -> None:
    """Load those that can be anew; in every turn another one comes first.

    Args:
        runners: Loaded.
        turn: From 1.
    """
    order = deque(runner for runner in runners if isinstance(runner, Reloadable))
    order.rotate(turn)
    for runner in order:
        runner.reload()


@dataclass(frozen=True)
class TimedPhases:
    """Times of one inference on a device with memory of its own, by the device's clock, in milliseconds.

    Attributes:
        copy_in_ms: Inputs from host to device.
        compute_ms: Kernels, from the first to the last.
        copy_out_ms: Outputs from device to host.
    """

    copy_in_ms: float
    compute_ms: float
    copy_out_ms: float


@runtime_checkable
class PhaseTimer(Protocol):
    """A runner that can time copies and computation apart."""

    def apart(self, feeds: Feeds) -> TimedPhases:
        """Infer once, timed in parts."""


def zero_arrays(inputs: Shapes, batch: int = 1) -> dict[str, Array]:
    """Zeros of each input's shape, its first dimension set to `batch` where that is free.

    Args:
        inputs: Shape and NumPy type name by input name; a free dimension is a string or None.
        batch: Samples.

    Raises:
        ValueError: A dimension other than the first is free, so that nobody knows what to feed; names the input.
    """
    feeds: dict[str, Array] = {}
    for name, (shape, kind) in inputs.items():
        fixed = [batch if axis == 0 and not isinstance(size, int) else size for axis, size in enumerate(shape)]
        if not all(isinstance(size, int) and size > 0 for size in fixed):
            msg = f"input {name!r} has unknown dimensions {list(shape)}"
            raise ValueError(msg)
        feeds[name] = np.zeros([int(size) for size in fixed if isinstance(size, int)], dtype=kind)
    return feeds


def zero_feeds(runner: FileRunner, batch: int = 1) -> dict[str, Array]:
    """Zeros to feed a loaded file.

    Raises:
        DeviceError: An input's shape is not known.
    """
    try:
        return zero_arrays(runner.shapes(), batch)
    except (ValueError, TypeError) as error:
        msg = f"{runner.path}: {error}; only the batch may be free: export with fixed sizes to profile it"
        raise DeviceError(msg) from error


def feed_shapes(feeds: Feeds) -> dict[str, tuple[tuple[int, ...], str, int]]:
    """Shape, NumPy type and value of each input for a process that only runs a file: zeros, the first value of integers."""
    return {
        name: (array.shape, array.dtype.name, 0 if array.dtype.kind == "f" or not array.size else int(array.flat[0]))
        for name, array in feeds.items()
    }


def run_error(name: object, feeds: Feeds, expected: object, error: Exception) -> ConversionError | DeviceError:
    """The error of a failed run: out of memory, with the size of the inputs, or inputs that do not fit.

    Args:
        name: Of the model.
        feeds: Its inputs.
        expected: Inputs that it takes.
        error: The runtime's own.
    """
    text = f"{type(error).__name__}: {str(error).strip()[-300:]}"
    inputs = ", ".join(f"{key} {array.shape} ({array.nbytes / 1e6:.3g} MB)" for key, array in feeds.items())
    if is_out_of_memory(error):
        return DeviceError(f"out of memory while running {name} on inputs {inputs}: use a smaller batch or network ({text})")
    if branch := CONTROL_FLOW.search(str(error)):
        where = f"the control flow of its node {branch[2]!r} ({branch[1]})"
        return ConversionError(
            f"{name}: {where} does not run on inputs {inputs}; give inputs of other sizes or values ({text})"
        )
    return ConversionError(f"{name} does not run on inputs {inputs}; it asks for {expected} ({text})")


def allowed_cpus() -> tuple[int, ...]:
    """Processors that this thread may run on, sorted; empty where the system does not tell."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def describe_affinity() -> str:
    """Where this thread may run, in words, for the record."""
    allowed, count = allowed_cpus(), os.cpu_count() or 0
    if not allowed:
        return "not set"
    if len(allowed) >= count:
        return f"{len(allowed)} processors allowed, not pinned"
    return f"pinned to processor{'s' * (len(allowed) > 1)} {', '.join(map(str, allowed))} of {count}"


@contextmanager
def pinned(processors: Collection[int]) -> Iterator[None]:
    """Keep this thread, and the threads that runners start inside, on some processors; none given changes nothing.

    Raises:
        DeviceError: A processor that is not there or not allowed, or a system that cannot pin.
    """
    if not processors:
        yield
        return
    before = allowed_cpus()
    if not set(processors) <= set(before):
        reason = f"allowed here: {', '.join(map(str, before))}" if before else "this system cannot pin threads"
        msg = f"cannot pin to processors {', '.join(map(str, sorted(processors)))}: {reason}"
        raise DeviceError(msg)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
