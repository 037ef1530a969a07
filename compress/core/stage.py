"""A stage, its input and its output.

    Candidate ──► Stage.run(candidate, context) ──► Outcome(candidate, results to record)

A stage is a frozen pydantic model: its fields are its parameters, so the YAML, the Python API, the JSON schema and the
help text are one thing. Imports no torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from compress.core.entries import Tables
from compress.core.fact import Fact
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.progress import NullReporter, Reporter
from compress.core.record import BenchmarkRow, Curve, LengthRow, Metric, Metrics, Quantity, StageRecord

if TYPE_CHECKING:
    from torch import nn

    from compress.config.devices import Device
    from compress.core.budget import Budget
    from compress.data.interface import Data
    from compress.data.text.tokenizer import TextTokenizer
    from compress.tasks.base import Task
    from compress.tasks.capability import Capability

Form = Literal["torch", "onnx"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """The network at a position in the chain.

    A stage does not change its input candidate; it works on a copy.

    Attributes:
        spec: Input specification and class names.
        module: The network in eval mode on the CPU, for form `torch`; it takes float32 (N, C, H, W), normalised.
        files: ONNX files by runtime (`onnxruntime`, `openvino`, `tensorrt`), for form `onnx`; `onnxruntime` is required.
        lineage: Keys of the stages that produced it, oldest first.
        runtimes: The selected runtime by device profile, for profiles of this machine with several runtimes.
    """

    spec: NetworkSpec
    module: nn.Module | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    lineage: tuple[str, ...] = ()
    runtimes: Mapping[str, str] = field(default_factory=dict)

    @property
    def form(self) -> Form:
        """`torch` or `onnx`."""
        return "torch" if self.module is not None else "onnx"

    @property
    def artifact(self) -> tuple[str, Path]:
        """The selected runtime of an `onnx` candidate on this machine, and the file for it."""
        runtime = next(iter(self.runtimes.values()), "onnxruntime")
        return runtime, self.file_for(runtime)

    def file_for(self, runtime: str) -> Path:
        """File of an `onnx` candidate for a runtime (`openvino`, `onnxruntime:cuda`); by default that of ONNX Runtime."""
        return self.files.get(runtime.partition(":")[0], self.files["onnxruntime"])

    def network(self) -> nn.Module:
        """The torch module of a `torch` candidate; do not change it in place."""
        if self.module is None:
            msg = gettext("this candidate is an ONNX file; a stage that needs torch must declare accepts = 'torch'")
            raise TypeError(msg)
        return self.module


@dataclass(frozen=True)
class OnnxOptions:
    """Settings of the ONNX export of torch networks.

    Attributes:
        opset: ONNX operator set; None for the default, or the first later one with every operator of the network.
        relative: Relative tolerance of the export against torch: max |a − b| ≤ absolute + relative · max |a|.
        absolute: Absolute tolerance, in units of the outputs.
    """

    opset: int | None = None
    relative: float = 1e-3
    absolute: float = 1e-4


@dataclass(frozen=True)
class Context:
    """Inputs of a stage besides its candidate.

    Attributes:
        data: The splits. Stages train on `train`, tune on `validation`, and do not use `test`.
        task: Loss and metrics.
        folder: Folder of the stage. Its files are kept with the stage, also after an interruption, so
            the next attempt finds a checkpoint that was written here (to a temporary name, then renamed).
        cache: Folder for expensive results that stages and runs share (teacher logits); the key of an entry is a hash of its
            inputs.
        seed: Seed of this stage.
        to_onnx: Float ONNX file of a torch candidate (dynamic batch, with metadata); exported once, and compared with torch.
        onnx: Settings of the export.
        teachers: The trained teachers of the recipe; empty without teachers.
        teacher_files: Float ONNX file of each teacher, in the same order.
        teacher_tokenizers: Tokenizer of each teacher, in the same order; None for that of the data. Empty for that of the data
            for all.
        float_file: Float ONNX file of the last torch network of the chain, the parent of a quantized network; None
            if there is none yet.
        load_float_network: Loads the last torch network of the chain, whose export is `float_file`; None if there is
            none yet.
        torch_folder: Folder of the stage with the last torch network; None if there is none yet.
        targets: Profiles of all devices that the recipe names.
        budget: Limits of the recipe, or None.
        device: Training device: `auto`, `cpu`, `cuda`, `mps`.
        reporter: Progress bars and lines.
        previous_records: Records of the stages before this one, the teacher's first.
        smoke: Smoke run: every long loop is limited to a few steps.
        base: Folder for relative paths in the parameters of a stage.
        trust_code: Whether the user's code may run.
    """

    data: Data
    task: Task
    folder: Path
    cache: Path
    seed: int = 0
    to_onnx: Callable[[Candidate], Path] | None = None
    onnx: OnnxOptions = OnnxOptions()
    teachers: tuple[Candidate, ...] = ()
    teacher_files: tuple[Path, ...] = ()
    teacher_tokenizers: tuple[TextTokenizer | None, ...] = ()
    float_file: Path | None = None
    load_float_network: Callable[[], nn.Module] | None = None
    torch_folder: Path | None = None
    targets: tuple[Device, ...] = ()
    budget: Budget | None = None
    device: str = "auto"
    reporter: Reporter = field(default_factory=NullReporter)
    previous_records: tuple[StageRecord, ...] = ()
    smoke: bool = False
    base: Path = field(default_factory=Path.cwd)
    trust_code: bool = False


@dataclass(frozen=True)
class Outcome:
    """Output of a stage. See `StageRecord` for the meaning of the fields after `candidate`.

    `training_set` is a distilled set, or a file of generated texts, in the folder of the stage, on which later stages train
    instead of the training samples.
    `trains_answers` is False after a stage that trained layers alone, whose network may not have learned its answers yet.
    """

    candidate: Candidate
    results: Metrics = field(default_factory=dict)
    benchmark_rows: tuple[BenchmarkRow, ...] = ()
    length_rows: tuple[LengthRow, ...] = ()
    skipped: tuple[Fact, ...] = ()
    notes: tuple[Fact, ...] = ()
    warnings: tuple[Fact, ...] = ()
    curves: dict[str, Curve] = field(default_factory=dict)
    tables: Tables = field(default_factory=dict)
    training_set: Path | None = None
    trains_answers: bool = True


class Stage(FrozenModel):
    """A stage of the chain. Subclasses declare fields, `accepts`, `produces` and `run`.

    A stage that `takes_given_file` also accepts the ONNX file at the start of a chain, if no stage has changed it. Under
    `accelerate launch` a stage that `trains` runs on every process, other stages on the first only. In a recipe without a
    teacher, later stages are compared with the best trained network before the first stage that `compresses`. The budget of the
    recipe is part of the key of a stage that `reads_budget`. Validation refuses a stage whose task does not have all
    capabilities that it `requires`.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    takes_given_file: ClassVar[bool] = False
    produces: ClassVar[Form | Literal["same"]] = "same"
    trains: ClassVar[bool] = False
    compresses: ClassVar[bool] = False
    reads_budget: ClassVar[bool] = False
    requires: ClassVar[tuple[Capability, ...]] = ()

    @property
    def onnx_options(self) -> OnnxOptions | None:
        """Settings of the ONNX export of the run, if this stage defines them."""
        return None

    @abstractmethod
    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Do the work, without changing `candidate`."""

    def smoke(self) -> Self:
        """The same stage with minimal settings."""
        return self

    def cache_inputs(self, targets: tuple[Device, ...]) -> dict[str, object]:  # noqa: ARG002
        """Further inputs that the result depends on, as JSON; part of the key. Computed without torch."""
        return {}

    def unsupported_reason(self, targets: tuple[Device, ...]) -> str | None:  # noqa: ARG002
        """Why these targets do not support its parameters, or None. Computed without torch."""
        return None

    def file_hashes(self, base: Path) -> dict[str, object]:  # noqa: ARG002
        """Hashes of the files in its parameters, relative to `base`; part of the key. Computed without torch.

        Raises:
            CompressError: A file is missing.
        """
        return {}


def missing_metrics(reason: str, metric: Metric) -> Metrics:
    """Metrics of a start without a network, none of which is measured; `metric` is the deciding metric of the task."""
    units = {metric.name: metric.unit, "size_bytes": "bytes", "parameters": "1", "macs": "MAC", "latency_ms": "ms"}
    return {name: Quantity.missing(unit, reason) for name, unit in units.items()}
