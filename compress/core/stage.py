"""What a stage is, what it is given and what it gives back.

    Candidate ──► Stage.run(candidate, context) ──► Outcome(candidate, what there is to record)

A stage is a frozen pydantic model: its fields are its parameters, so the YAML, the Python API, the JSON schema and the
help text are one thing. Nothing heavy is imported here: a recipe is read and checked without torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from compress.core.progress import NullReporter, Reporter
from compress.core.record import BenchmarkRow, Curve, Fact, FrozenModel, InputSpec, Metrics, Quantity, StageRecord

if TYPE_CHECKING:
    from torch import nn

    from compress.config.devices import Device
    from compress.data.interface import Data
    from compress.tasks.base import Task

Form = Literal["torch", "onnx"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """The network at one point of the chain.

    A stage never changes the candidate that it was given: it works on a copy.

    Attributes:
        spec: Its input and the names of its classes.
        module: The network in eval mode on the CPU, for form `torch`; it takes float32 (N, C, H, W), normalised.
        files: ONNX files by runtime family (`onnxruntime`, `openvino`, `tensorrt`), for form `onnx`; `onnxruntime` is always
            there.
        lineage: Keys of the stages that made it, oldest first.
        runtimes: The runtime that was chosen for a profile of this machine that names several, by the profile's name.
    """

    spec: InputSpec
    module: nn.Module | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    lineage: tuple[str, ...] = ()
    runtimes: Mapping[str, str] = field(default_factory=dict)

    @property
    def form(self) -> Form:
        """`torch` or `onnx`."""
        return "torch" if self.module is not None else "onnx"

    @property
    def shipped(self) -> tuple[str, Path]:
        """What an `onnx` candidate is on this machine: the runtime that was chosen, and the file made for it."""
        runtime = next(iter(self.runtimes.values()), "onnxruntime")
        return runtime, self.file_for(runtime)

    def file_for(self, runtime: str) -> Path:
        """The file of an `onnx` candidate for a runtime: its family's own, or the one for ONNX Runtime."""
        return self.files.get(runtime.partition(":")[0], self.files["onnxruntime"])

    def network(self) -> nn.Module:
        """The torch module of a `torch` candidate; do not change it in place."""
        if self.module is None:
            msg = "this candidate is an ONNX file; a stage that needs torch must declare accepts = 'torch'"
            raise TypeError(msg)
        return self.module


@dataclass(frozen=True)
class Context:
    """What a stage may use besides its candidate.

    Attributes:
        data: The splits. Stages train on `train`, tune on `validation`, and never look at `test`.
        task: Loss and metrics.
        folder: The stage's own folder. Files left here are kept with the stage. It outlives an interruption, so a
            checkpoint written here (write aside, then rename) is found again by the next attempt.
        cache: Folder for what is costly and shared between stages and runs (teacher answers); entries are keyed by a hash of
            all that they depend on.
        seed: Seed of this stage.
        to_onnx: Float ONNX file of a torch candidate (dynamic batch, with metadata); made once and kept.
        teacher: The recipe's teachers, trained; empty when the recipe has none.
        teacher_files: Float ONNX file of each teacher, in the same order.
        float_file: Float ONNX file of the last torch network of the chain, the parent of whatever was quantized; None
            before there is one.
        float_network: Loads the last torch network of the chain, that `float_file` was made from; None before there is one.
        targets: Profiles of all devices that the recipe names.
        device: Where to train: `auto`, `cpu`, `cuda`, `mps`.
        reporter: Progress bars and lines.
        earlier: Records of the stages before this one, the teacher's first.
        smoke: Toy size: keep every long loop to a few steps.
        base: Folder that relative paths in a stage's parameters start from.
        trust_code: Whether code of the user's own may run.
    """

    data: Data
    task: Task
    folder: Path
    cache: Path
    seed: int = 0
    to_onnx: Callable[[Candidate], Path] | None = None
    teacher: tuple[Candidate, ...] = ()
    teacher_files: tuple[Path, ...] = ()
    float_file: Path | None = None
    float_network: Callable[[], nn.Module] | None = None
    targets: tuple[Device, ...] = ()
    device: str = "auto"
    reporter: Reporter = field(default_factory=NullReporter)
    earlier: tuple[StageRecord, ...] = ()
    smoke: bool = False
    base: Path = field(default_factory=Path.cwd)
    trust_code: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a stage gives back. See `StageRecord` for the meaning of the fields after `candidate`.

    `training_set` is a distilled set in the stage's folder, on which later stages train instead of the data's own images.
    """

    candidate: Candidate
    results: Metrics = field(default_factory=dict)
    benchmark_rows: tuple[BenchmarkRow, ...] = ()
    skipped: tuple[Fact, ...] = ()
    notes: tuple[Fact | str, ...] = ()
    warnings: tuple[Fact | str, ...] = ()
    curves: dict[str, Curve] = field(default_factory=dict)
    tables: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    training_set: Path | None = None


class Stage(FrozenModel):
    """One step of the chain. Subclasses declare fields, `accepts`, `produces` and `run`.

    Under `accelerate launch` a stage that `trains` runs on every process, any other on the first alone.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    produces: ClassVar[Form | Literal["same"]] = "same"
    trains: ClassVar[bool] = False

    @abstractmethod
    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Do the work. The candidate given is left as it was."""

    def smoke(self) -> Self:
        """The same stage at toy size."""
        return self

    def cache_inputs(self, targets: tuple[Device, ...]) -> dict[str, Any]:  # noqa: ARG002
        """What else its result depends on, as JSON; enters its key. Computed without torch."""
        return {}

    def unsupported_reason(self, targets: tuple[Device, ...]) -> str | None:  # noqa: ARG002
        """Why it cannot give these targets what its parameters ask for; None when it can. Found without torch."""
        return None

    def files(self, base: Path) -> dict[str, Any]:  # noqa: ARG002
        """Hashes of the files that its parameters name, from `base` on; they enter its key. Computed without torch.

        Raises:
            CompressError: One is missing.
        """
        return {}


def missing_metrics(reason: str, metric: str) -> Metrics:
    """Metrics of which none was measured, for a start that has no network yet; `metric` is the task's deciding one."""
    units = {metric: "fraction", "size_bytes": "bytes", "parameters": "1", "macs": "MAC", "latency_ms": "ms"}
    return {name: Quantity.missing(unit, reason) for name, unit in units.items()}
