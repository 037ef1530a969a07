"""Orders to the agent on a device, and its answers: the JSON objects that cross the connection, one a line.

For the type checker alone: the agent, which may run on an older Python, imports this file only where types are checked.
"""

from __future__ import annotations

from typing import Literal, TypedDict, final

from compress.core.record import Arrival


class InspectOrder(TypedDict):
    """Report versions, clocks and sensors.

    Attributes:
        trtexec: Path of `trtexec`; None to look in the usual places.
        sensors: Power sensors to try, in order.
    """

    job: Literal["inspect"]
    trtexec: str | None
    sensors: list[str]


class RunSettings(TypedDict):
    """How to measure.

    Attributes:
        batch: Samples in one run.
        threads: Within an operator; 0 takes all.
        seconds: Of timing, all files together.
        warmup_seconds: Longest warm-up of a file.
        min_runs: Of each file.
        affinity: Processors to run on; empty for all.
        power_seconds: Of each reading of power.
        arrivals_per_s: Rate of periodic arrivals, Hz.
        arrival_seconds: Of timing each arrival pattern.
        trtexec: As in `InspectOrder`.
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
    """Time ONNX files in turns.

    Attributes:
        files: Path on the device by subject.
        feeds: Path of each input by subject; None for zeros.
    """

    job: Literal["onnxruntime"]
    sensors: list[str]
    files: dict[str, str]
    feeds: dict[str, dict[str, str]] | None


class TrtexecOrder(RunSettings):
    """Build engines and time them in turns.

    Attributes:
        build: Arguments of `trtexec` by subject.
        time: Likewise, for one turn.
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
    """Times of one file: milliseconds of each run, and the round of each."""

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


@final
class NotMeasured(TypedDict):
    """Why a reading is missing."""

    reason: str


QuantityFields = dict[str, object]
"""Fields of `Quantity`."""


class FileResult(Series):
    """Measurements of one file.

    Attributes:
        settings: Runtime, version, threads and further settings that affect speed.
        arrivals: Times by arrival pattern.
        power: Quantities by name.
        memory: Of a fresh process.
    """

    settings: dict[str, str]
    arrivals: dict[Arrival, Series]
    power: dict[str, QuantityFields]
    memory: FootprintFields | NotMeasured


class ClockReadings(TypedDict):
    """What `clocks` read before and after."""

    before: dict[str, str]
    after: dict[str, str]


class Measurements(TypedDict):
    """Result of measuring: by subject; the share of a processor that the process had; clocks."""

    files: dict[str, FileResult]
    processor_share: float
    clocks: ClockReadings


class PowerSensor(TypedDict):
    """The sensor that can be read, and what it covers; or why none can."""

    power: str
    no_power: str


class InspectionReport(PowerSensor, total=False):
    """Result of an inspection: versions, or the reason why there is none."""

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
    """What the agent says of the device when it starts; see `DeviceFacts`."""

    folder: str
    architecture: str
    system: str
    python: str
    cpu: str
    processors: int
    free_bytes: int


class PutOrder(TypedDict):
    """A file follows, of `size` bytes."""

    name: str
    size: int
    sha256: str


class Message(TypedDict, total=False):
    """One message of the agent; which fields it has says which it is."""

    hello: AgentFacts
    put: str
    progress: float
    result: Measurements | InspectionReport
    error: str
    text: str
    done: int
    log: str
    gone: bool
