"""Files on an Android device, and the runs of a benchmark program that time them in turns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from compress.backends.converted.convert import convert_file, target_name
from compress.backends.converted.sidecar import network_files
from compress.backends.read_graph import graph_inputs, read_graph
from compress.backends.runner_protocol import Feeds
from compress.core.errors import ConversionError, DeviceError
from compress.core.language import gettext
from compress.core.progress import Reporter
from compress.core.record import Metrics
from compress.profile.memory.memory import parts
from compress.profile.phone.benchmark_tools import TOOLS, Turn, TurnSettings, UnreadableOutputError
from compress.profile.phone.phone_state import PhoneGauge
from compress.profile.phone.session import PhoneSession, last_words
from compress.profile.remote.trtexec import ROUNDS, program_power
from compress.profile.settings import MeasurementSettings

TRIAL_SECONDS = 0.1


class PhoneBenchmark:
    """The benchmark program of the profile, and the files that it times.

    Args:
        phone: Connection.
        plan: Threads and duration.

    Attributes:
        tool: The program.
        paths: Path of each file on the device, by subject.
        sizes: Sizes of the free axes of each file, by subject.
    """

    def __init__(self, phone: PhoneSession, plan: MeasurementSettings) -> None:
        self.phone = phone
        self.plan = plan
        self.tool = TOOLS[phone.where.runtime]
        self.paths: dict[str, str] = {}
        self.sizes: dict[str, dict[str, int]] = {}

    def missing_program(self) -> str:
        """Why the program cannot run; empty if it can.

        Raises:
            DeviceError: The device has gone.
        """
        path = self.phone.where.benchmark
        if self.phone.shell(["test", "-e", path]).code:
            return gettext(
                "{path} does not exist on the device: get {tool} for it ({source}), then `adb push {tool} {path}`, or set "
                "`benchmark:` in the connection",
                path=path,
                tool=self.tool.name,
                source=self.tool.source,
            )
        if self.phone.shell(["test", "-x", path]).code:
            return gettext("{path} may not be run: `adb shell chmod 755 {path}`", path=path)
        return ""

    def check_program(self) -> None:
        """Raise `DeviceError` if the program cannot run."""
        if reason := self.missing_program():
            raise DeviceError(gettext("{name}: {reason}", name=self.phone.name, reason=reason))

    def send(self, name: str, source: Path, feeds: Feeds | None, folder: Path, ready: Path | None = None) -> Path:
        """Copy an ONNX file, converted where the program needs another format; returns the file of this machine.

        Args:
            name: Subject.
            source: ONNX file.
            feeds: Inputs whose shapes are timed; None for those of the file.
            folder: Folder for the converted file.
            ready: The file already in the format of the program.

        Raises:
            ConversionError: The conversion failed, or an axis is free and has no name.
            DeviceError: The copy failed.
        """
        runtime, place = self.phone.where.runtime, str(len(self.paths))
        file = source if ready is None else ready
        if runtime == "onnxruntime":
            self.sizes[name], files = named_sizes(source, feeds), parts(file)
        else:
            if ready is None:
                file = folder / place / target_name(runtime)
                convert_file(runtime, source, file, feeds)
            self.sizes[name], files = {}, network_files(file)
        sent = {part: self.phone.push(part, f"{place}/{part.relative_to(file.parent).as_posix()}") for part in files}
        self.paths[name] = sent[file]
        return file

    def turn(self, name: str, seconds: float, *, rate_hz: float | None = None, min_runs: int = 1) -> Turn:
        """Run the program once on a file.

        Raises:
            DeviceError: The program failed or took too long, or its output cannot be read.
        """
        where = self.phone.where
        settings = TurnSettings(
            self.plan.threads,
            seconds,
            self.plan.warmup_seconds / ROUNDS,
            min_runs,
            where.timeout_s,
            rate_hz,
            self.sizes[name],
        )
        text = self.phone.run(self.tool.command(where.benchmark, self.paths[name], settings), timeout_s=where.timeout_s)
        try:
            return self.tool.parse(text)
        except UnreadableOutputError as error:
            msg = gettext(
                "{name}: the output of {tool} has no readable `{line}`: is {path} this program, in a release of the last "
                "years? It printed: {text}",
                name=self.phone.name,
                tool=self.tool.name,
                line=error,
                path=where.benchmark,
                text=last_words(text) or gettext("nothing"),
            )
            raise DeviceError(msg) from error

    def try_once(self, name: str) -> None:
        """Run the program shortly on a file, which also warms up the device.

        Raises:
            DeviceError: As for `turn`.
        """
        self.turn(name, TRIAL_SECONDS)

    def time(self, names: Sequence[str], reporter: Reporter) -> dict[str, list[Turn]]:
        """Time all files in `ROUNDS` turns, every second one in reverse order.

        Raises:
            DeviceError: As for `turn`.
        """
        turns: dict[str, list[Turn]] = {name: [] for name in names}
        seconds, runs = self.plan.seconds / ROUNDS, math.ceil(self.plan.min_runs / ROUNDS)
        with reporter.bar(gettext("measuring on {name}", name=self.phone.device.name), ROUNDS * len(names)) as bar:
            for index in range(ROUNDS):
                for name in list(names)[:: 1 if index % 2 == 0 else -1]:
                    turns[name].append(self.turn(name, seconds, min_runs=runs))
                    bar.advance(note=name)
        return turns

    def periodic(self, name: str, rate_hz: float, seconds: float) -> Turn | None:
        """One run with inferences at a fixed rate; None if the program cannot do that."""
        return self.turn(name, seconds, rate_hz=rate_hz) if self.tool.keeps_rate else None

    def power(self, names: Sequence[str], *, batch: int) -> dict[str, Metrics]:
        """Power and energy of each file in another run; missing with the reason where the gauge cannot be read."""
        gauge = PhoneGauge(self.phone)
        reason = gauge.available()
        actions = {name: partial(self._busy, name, 2 * gauge.shortest_s) for name in names}
        return program_power(
            actions,
            gauge if reason is None else None,
            reason or "",
            gauge.shortest_s,
            batch=batch,
            program=self.tool.name,
        )

    def _busy(self, name: str, seconds: float) -> list[float]:
        turn = self.turn(name, seconds)
        return [turn.mean_ms] * turn.runs


def named_sizes(path: Path, feeds: Feeds | None) -> dict[str, int]:
    """Sizes of the named free axes of an ONNX file in its inputs; the program takes 1 for all others.

    Raises:
        ConversionError: A free axis without a name, or whose name cannot be written in a command, has another size than 1.
    """
    sizes: dict[str, int] = {}
    shapes: Mapping[str, tuple[int, ...]] = {} if feeds is None else {name: array.shape for name, array in feeds.items()}
    for value in graph_inputs(read_graph(path).graph):
        for axis, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
            if axis.dim_value or (size == 1 and not axis.dim_param):
                continue
            if not axis.dim_param or any(mark in axis.dim_param for mark in " :"):
                msg = gettext(
                    "{path}: an axis of {input} is free and has no name that onnxruntime_perf_test takes, and its size would "
                    "be {size}; export the file with fixed sizes, or name the axis",
                    path=path.name,
                    input=value.name,
                    size=size,
                )
                raise ConversionError(msg)
            sizes[axis.dim_param] = size
    return sizes
