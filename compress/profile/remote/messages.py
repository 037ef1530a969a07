"""Types of the JSON messages between the host and the agent on a device, one message per line.

Only for type checking: the agent, which may run on an older Python, does not import this file.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict, final

from compress.core.record import Arrival


class InspectOrder(TypedDict):
    """Order to report versions, clocks and sensors.

    Attributes:
        trtexec: Path of `trtexec`; None searches the usual places.
        sensors: Power sensors, tried in this order.
    """

    job: Literal["inspect"]
    trtexec: str | None
    sensors: list[str]


class RunSettings(TypedDict):
    """Settings of a measurement.

    Attributes:
        batch: Samples per run.
        threads: Threads within an operator; 0 for all.
        seconds: Timing of all files together.
        warmup_seconds: Longest warm-up of a file.
        min_runs: Smallest number of runs of each file.
        affinity: Logical processors to run on; empty for all.
        power_seconds: Duration of each power measurement.
        arrivals_per_s: Rate of periodic arrivals, Hz.
        arrival_seconds: Timing of each arrival pattern.
        trtexec: See `InspectOrder`.
    """

    batch: int
    threads: int
    seconds: float
    warmup_seconds: float
    min_runs: int
    affinity: list[int]
    power_seconds: float
    arrivals_per_s: float
    arrival_seconds: float
    trtexec: str | None


class OnnxruntimeOrder(RunSettings):
    """Order to time ONNX files in turns.

    Attributes:
        files: Path on the device by subject.
        feeds: Path of each input by subject; None for zeros.
        runners: Class of the runner by subject, `module:Class`; by default that of ONNX Runtime.
        packages: Python package of the runtime by subject.
        compare: Batches of inputs by subject whose outputs are returned.
    """

    job: Literal["onnxruntime"]
    sensors: list[str]
    files: dict[str, str]
    feeds: dict[str, dict[str, str]] | None
    runners: NotRequired[dict[str, str]]
    packages: NotRequired[dict[str, str]]
    compare: NotRequired[dict[str, list[dict[str, str]]]]


class TrtexecOrder(RunSettings):
    """Order to build engines and time them in turns.

    Attributes:
        build: Arguments of `trtexec` for the build, by subject.
        time: Arguments of `trtexec` for one turn of timing, by subject.
    """

    job: Literal["tensorrt"]
    sensors: list[str]
    build: dict[str, list[str]]
    time: dict[str, list[str]]


class WarmupFields(TypedDict):
    """Fields of `Warmup`."""

    runs: int
    seconds: float
    steady: bool


class Series(TypedDict):
    """Times of one file: milliseconds and round of each run."""

    milliseconds: list[float]
    rounds: list[int]
    warmup: WarmupFields


@final
class FootprintFields(TypedDict):
    """Fields of `Footprint`."""

    before: int
    loaded: int
    first: int
    steady: int
    peak: int
    load_ms: float
    first_ms: float
    steady_ms: float
    arena: int | None
    arena_used: int | None
    peaks: list[int]


@final
class NotMeasured(TypedDict):
    """Reason for a missing value."""

    reason: str


QuantityFields = dict[str, object]
"""Fields of `Quantity`."""


class FileResult(Series):
    """Measurements of one file.

    Attributes:
        settings: Runtime, version, threads and other settings that affect the speed.
        arrivals: Times by arrival pattern.
        power: Quantities by name.
        memory: Memory of a new process.
        load_ms: Time from file to session in the worker.
        outputs: Outputs of each batch of `compare`, .npy files as base64.
    """

    settings: dict[str, str]
    arrivals: dict[Arrival, Series]
    power: dict[str, QuantityFields]
    memory: FootprintFields | NotMeasured
    load_ms: NotRequired[float]
    outputs: NotRequired[list[list[str]]]


class ClockReadings(TypedDict):
    """Readings of `clocks` before and after the measurement."""

    before: dict[str, str]
    after: dict[str, str]


class Measurements(TypedDict):
    """Result of a measurement: files by subject, the share of a processor that the process had, and clocks."""

    files: dict[str, FileResult]
    processor_share: float
    clocks: ClockReadings


class PowerSensor(TypedDict):
    """The first working power sensor and what it measures, or why none works."""

    power: str
    no_power: str


class InspectionReport(PowerSensor, total=False):
    """Result of an inspection: clocks, and versions or the reason why there is none."""

    clocks: dict[str, str]
    platform: str
    numpy: str
    onnxruntime: str
    providers: list[str]
    no_onnxruntime: str
    trtexec: str
    tensorrt: str
    no_trtexec: str


class AgentFacts(TypedDict):
    """Report of the agent on the device when it starts; see `DeviceFacts`."""

    folder: str
    architecture: str
    system: str
    python: str
    cpu: str
    processors: int
    free_bytes: int


class PutOrder(TypedDict):
    """Order to receive a file, whose `size` bytes follow."""

    name: str
    size: int
    sha256: str


class Message(TypedDict, total=False):
    """A message of the agent; its fields determine its kind."""

    hello: AgentFacts
    put: str
    progress: float
    result: Measurements | InspectionReport
    error: str
    text: str
    done: int
    log: str
    gone: bool
