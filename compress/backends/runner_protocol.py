"""Interface of runners, one for each runtime.

    with Runner(path, threads=1) as runner:      # loads
        outputs = runner.run(feeds)              # runs one inference and waits
        runner.describe()                        # settings for the record

`run` raises `ConversionError` for inputs that do not fit and `DeviceError` if memory runs out. A runner whose device has its
own memory can also time copies and computation separately, see `PhaseTimer`.
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
from compress.core.language import gettext, ngettext
from compress.core.memory_errors import is_out_of_memory

Array = np.ndarray
Feeds = Mapping[str, Array]
"""Inputs by name."""
Shapes = Mapping[str, tuple[tuple[int | str | None, ...], str]]
"""Shape and NumPy type name by input name; a free dimension is a string or None."""


CONTROL_FLOW = re.compile(r"running (If|Loop|Scan) node\. Name:'([^']*)'")
"""Message of ONNX Runtime for an error in a branch or loop, with the type and name of the outermost node."""


class Runner(Protocol):
    """Runs one model in one runtime."""

    def __enter__(self) -> Self:
        """Load the model."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Free the model."""

    def run(self, feeds: Feeds) -> list[Array]:
        """Run one inference and wait for the outputs."""

    def describe(self) -> dict[str, str]:
        """Runtime, version and every setting that affects speed."""


class FileRunner(Runner, Protocol):
    """A runner of a file."""

    path: Path

    def shapes(self) -> Shapes:
        """Shape and NumPy type of each input."""


@runtime_checkable
class Reloadable(Protocol):
    """A runner that can reload its model into other memory in about the time of a few inferences."""

    def reload(self) -> None:
        """Load the model again."""


def reload(runners: Collection[Runner], turn: int) -> None:
    """Reload all runners that are `Reloadable`.

    Args:
        runners: Loaded runners.
        turn: Number of the call, from 1; rotates the order.
    """
    order = deque(runner for runner in runners if isinstance(runner, Reloadable))
    order.rotate(turn)
    for runner in order:
        runner.reload()


@dataclass(frozen=True)
class TimedPhases:
    """Times of one inference on a device with its own memory, by the clock of the device, ms.

    Attributes:
        copy_in_ms: Copy of the inputs from host to device.
        compute_ms: Kernels, from the start of the first to the end of the last.
        copy_out_ms: Copy of the outputs from device to host.
    """

    copy_in_ms: float
    compute_ms: float
    copy_out_ms: float


@runtime_checkable
class PhaseTimer(Protocol):
    """A runner that can time copies and computation separately."""

    def time_phases(self, feeds: Feeds) -> TimedPhases:
        """Run one inference and return the time of each phase."""


def zero_arrays(inputs: Shapes, batch: int = 1) -> dict[str, Array]:
    """Zeros in the shape of each input; a free first dimension is `batch`.

    Args:
        inputs: Shape and NumPy type name by input name; a free dimension is a string or None.
        batch: Batch size.

    Raises:
        ValueError: A dimension other than the first is free; the message names the input.
    """
    feeds: dict[str, Array] = {}
    for name, (shape, kind) in inputs.items():
        fixed = [batch if axis == 0 and not isinstance(size, int) else size for axis, size in enumerate(shape)]
        if not all(isinstance(size, int) and size > 0 for size in fixed):
            msg = gettext("input {name!r} has unknown dimensions {shape}", name=name, shape=list(shape))
            raise ValueError(msg)
        feeds[name] = np.zeros([int(size) for size in fixed if isinstance(size, int)], dtype=kind)
    return feeds


def zero_feeds(runner: FileRunner, batch: int = 1) -> dict[str, Array]:
    """Zeros as inputs of a loaded file.

    Raises:
        DeviceError: The shape of an input is not known.
    """
    try:
        return zero_arrays(runner.shapes(), batch)
    except (ValueError, TypeError) as error:
        msg = gettext(
            "{path}: {error}; only the batch dimension may be free: export with fixed sizes to profile the file",
            path=runner.path,
            error=error,
        )
        raise DeviceError(msg) from error


def feed_shapes(feeds: Feeds) -> dict[str, tuple[tuple[int, ...], str, int]]:
    """Shape, NumPy type and value of each input, for a process that runs a file: 0 for floats, else the first value."""
    return {
        name: (array.shape, array.dtype.name, 0 if array.dtype.kind == "f" or not array.size else int(array.flat[0]))
        for name, array in feeds.items()
    }


def run_error(name: object, feeds: Feeds, expected: object, error: Exception) -> ConversionError | DeviceError:
    """The error to raise for a failed run: memory ran out, or inputs that do not fit.

    Args:
        name: Name of the model.
        feeds: Inputs of the run.
        expected: Inputs that the model expects.
        error: Error of the runtime.
    """
    text = f"{type(error).__name__}: {str(error).strip()[-300:]}"
    inputs = ", ".join(f"{key} {array.shape} ({array.nbytes / 1e6:.3g} MB)" for key, array in feeds.items())
    if is_out_of_memory(error):
        return DeviceError(
            gettext(
                "out of memory while running {name} on inputs {inputs}: use a smaller batch or network ({text})",
                name=name,
                inputs=inputs,
                text=text,
            )
        )
    if branch := CONTROL_FLOW.search(str(error)):
        return ConversionError(
            gettext(
                "{name}: the control flow of its node {branch!r} ({operator}) does not run on inputs {inputs}; "
                "give inputs of other sizes or values ({text})",
                name=name,
                branch=branch[2],
                operator=branch[1],
                inputs=inputs,
                text=text,
            )
        )
    return ConversionError(
        gettext(
            "{name} does not run on inputs {inputs}; expected are {expected} ({text})",
            name=name,
            inputs=inputs,
            expected=expected,
            text=text,
        )
    )


def allowed_cpus() -> tuple[int, ...]:
    """Processors that this thread may run on, sorted; empty if the system does not report them."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def describe_affinity() -> str:
    """Processors that this thread may run on, as text for the record."""
    allowed, count = allowed_cpus(), os.cpu_count() or 0
    if not allowed:
        return gettext("not set")
    if len(allowed) >= count:
        return ngettext("{number} processor allowed, not pinned", "{number} processors allowed, not pinned", len(allowed))
    return gettext("pinned to processors {processors} of {count}", processors=", ".join(map(str, allowed)), count=count)


@contextmanager
def pinned(processors: Collection[int]) -> Iterator[None]:
    """Pin this thread, and threads that runners start within the block, to processors; empty does not pin.

    Raises:
        DeviceError: A processor does not exist or is not allowed, or the system cannot pin threads.
    """
    if not processors:
        yield
        return
    before = allowed_cpus()
    if not set(processors) <= set(before):
        reason = gettext("this system cannot pin threads")
        if before:
            reason = gettext("allowed are {processors}", processors=", ".join(map(str, before)))
        msg = gettext(
            "cannot pin to processors {processors}: {reason}", processors=", ".join(map(str, sorted(processors))), reason=reason
        )
        raise DeviceError(msg)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
