"""Stages of a run: pending stages, and outputs of finished stages, whose candidates are loaded on demand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

import numpy as np

from compress.core.atomic_files import write_text, write_with
from compress.core.entries import mapping
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.record import Metrics, StageRecord
from compress.core.stage import Candidate, Context, Form, Outcome
from compress.models.saved_network import PROGRAM, WEIGHTS, write_description
from compress.models.settings import ModelSettings

if TYPE_CHECKING:
    from torch import nn

FLOAT_ONNX = "model.onnx"
MANIFEST = "candidate.json"
SCORES = "correct.npy"
ANSWERS = "answers.npy"
"""Classes of the test samples, see `SplitScores.answers`."""


class CandidateManifest(TypedDict):
    """Candidate of a stage, as its folder says.

    Attributes:
        form: `torch` or `onnx`.
        same: Whether it is the candidate of the stage before.
        files: Names of its ONNX files by runtime.
        spec: Its `NetworkSpec`.
        runtimes: The selected runtime by device profile, where a profile names several.
        train: Name of the distilled set to train on from here, where the stage made one.
    """

    form: Form
    same: bool
    files: dict[str, str]
    spec: dict[str, object]
    runtimes: NotRequired[dict[str, str]]
    train: NotRequired[str]


@dataclass(frozen=True)
class Reference:
    """The network, with any weights, as reference for checkpoints.

    Attributes:
        build: Builds it.
        architecture: Its source; None for a network built in Python.
        task: The task that it is built for, as a recipe writes it.
    """

    build: Callable[[], nn.Module]
    architecture: ModelSettings | None = None
    task: str | dict[str, object] = "classification"

    def __call__(self) -> nn.Module:
        """Build it."""
        return self.build()


@dataclass(frozen=True)
class PendingStage:
    """A stage to run, or to reuse from an earlier run.

    Attributes:
        index: Position in the chain; 0 for teachers and the start.
        name: Name, also of its folder.
        key: Identity of its result.
        parameters: Parameters for the record.
        build_input: Builds the input candidate, with notes.
        run: Runs the stage.
        build_reference: Builds the network, with any weights, that checkpoints are read against.
        previous: Output of the stage before it; None at the start and for teachers.
        trained: Whether its candidate has trained weights, so that metric and latency are measured.
        trains: Whether every process of a launch takes part.
        tokenizer: Folder or file of a tokenizer of its own, for a teacher; None for that of the data.
        export_notes: Notes on deviations from the default ONNX export of its networks.
    """

    index: int
    name: str
    key: str
    parameters: dict[str, object]
    build_input: Callable[[], tuple[Candidate, tuple[Fact, ...]]]
    run: Callable[[Candidate, Context], Outcome]
    build_reference: Callable[[], nn.Module]
    previous: StageOutput | None = None
    trained: bool = True
    trains: bool = False
    tokenizer: str | None = None
    export_notes: list[Fact] = field(default_factory=list)

    @property
    def export_warnings(self) -> tuple[Fact, ...]:
        """The export notes that are shown at the head of the report."""
        return tuple(note for note in self.export_notes if note.code == "backends.branch_frozen")

    @property
    def memory_advice(self) -> str:
        """Advice for a stage that runs out of memory."""
        size = self.parameters.get("batch_size") or mapping(self.parameters, "train").get("batch_size")
        if size:
            return gettext(
                "lower its batch_size, now {size}, or data.image_size, or use a machine with more memory; finished stages are "
                "kept",
                size=size,
            )
        return gettext(
            "lower batch_size in the part of it that trains, or data.image_size, or use a machine with more memory; finished "
            "stages are kept"
        )

    @property
    def before(self) -> Metrics:
        """Metrics of the input candidate."""
        return self.previous.record.after if self.previous else {}


@dataclass(frozen=True)
class StageOutput:
    """Output of a finished stage.

    Attributes:
        record: Its record.
        folder: Its files.
        build_reference: Builds the network, with any weights, that its checkpoint is read against.
        previous: Output of the stage before it; None at the start and for teachers.
    """

    record: StageRecord
    folder: Path
    build_reference: Callable[[], nn.Module]
    previous: StageOutput | None = None

    @property
    def origin(self) -> StageOutput:
        """The output with the files of this candidate: this one, or an earlier one if the stage changed nothing."""
        if not read_manifest(self.folder).get("same"):
            return self
        if self.previous is None:
            msg = gettext("{folder} points before the start of the chain", folder=self.folder / MANIFEST)
            raise ValueError(msg)
        return self.previous.origin

    @property
    def lineage(self) -> tuple[str, ...]:
        """Keys from the start to here."""
        return (*(self.previous.lineage if self.previous else ()), self.record.key)

    def spec(self) -> NetworkSpec:
        """Input and classes of its candidate."""
        return NetworkSpec.model_validate(read_manifest(self.folder)["spec"])

    def candidate(self) -> Candidate:
        """Load it."""
        origin = self.origin
        manifest = read_manifest(origin.folder)
        files = {runtime: origin.folder / name for runtime, name in manifest["files"].items()}
        module = None
        if manifest["form"] == "torch":
            from compress.models.checkpoint import load
            from compress.models.compressed_checkpoint import decompressed

            with decompressed(origin.folder / WEIGHTS) as path:
                module = load(path, self.build_reference())
        return Candidate(self.spec(), module, {} if module is not None else files, self.lineage, manifest.get("runtimes", {}))

    def onnx(self) -> Path | None:
        """Its ONNX file, which for a torch candidate is the float export; None if there is none."""
        origin = self.origin
        name = read_manifest(origin.folder)["files"].get("onnxruntime")
        return origin.folder / name if name else None

    def float_onnx(self) -> Path | None:
        """The float ONNX file of the last torch network so far, or the file at the start of the chain."""
        if self.record.form == "torch" or self.previous is None:
            return self.onnx()
        return self.previous.float_onnx()

    def float_network(self) -> nn.Module:
        """Load the last torch network so far."""
        if self.record.form == "torch" or self.previous is None:
            return self.candidate().network()
        return self.previous.float_network()

    def torch_folder(self) -> Path | None:
        """Folder of the last torch network so far, or None."""
        if self.record.form == "torch":
            return self.origin.folder
        return self.previous.torch_folder() if self.previous else None

    def training_set(self) -> Path | None:
        """The distilled set for the training of later stages, from the last stage with one; or None."""
        name = read_manifest(self.folder).get("train")
        if name:
            return self.folder / str(name)
        return self.previous.training_set() if self.previous else None

    def scores(self) -> np.ndarray | None:
        """Per-sample scores on the test split; None if they were not measured."""
        return self._array(SCORES)

    def answers(self) -> np.ndarray | None:
        """Classes that it gives the samples of the test split, see `SplitScores.answers`; None where samples have none."""
        return self._array(ANSWERS)

    def _array(self, name: str) -> np.ndarray | None:
        path = self.origin.folder / name
        return np.load(path, allow_pickle=False) if path.exists() else None


def save_output(
    candidate: Candidate,
    folder: Path,
    build_reference: Callable[[], nn.Module],
    *,
    unchanged: bool,
    training_set: Path | None = None,
) -> tuple[Fact, ...]:
    """Write the files for `StageOutput.candidate` and `compress.load`; with a note if a pruned network has no program."""
    notes: tuple[Fact, ...] = ()
    names = {runtime: str(path.relative_to(folder)) for runtime, path in candidate.files.items()} if not unchanged else {}
    if candidate.module is not None and not unchanged:
        notes = _save_network(candidate.module, folder, candidate.spec, build_reference)
        names = {"onnxruntime": FLOAT_ONNX} if (folder / FLOAT_ONNX).exists() else {}
    manifest: CandidateManifest = {
        "form": candidate.form,
        "same": unchanged,
        "files": names,
        "spec": candidate.spec.model_dump(mode="json"),
    }
    if candidate.runtimes and not unchanged:
        manifest["runtimes"] = dict(candidate.runtimes)
    if training_set is not None:
        manifest["train"] = str(training_set.relative_to(folder))
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1))
    return notes


def _save_network(
    module: nn.Module, folder: Path, spec: NetworkSpec, build_reference: Callable[[], nn.Module]
) -> tuple[Fact, ...]:
    """Write weights and description; for a changed structure, which only `compress` can build, also a program."""
    from compress.backends.export_program import export_program
    from compress.models.checkpoint import has_other_structure, save
    from compress.models.compressed_checkpoint import SPARSE_FRACTION, compress_checkpoint, zero_fraction

    reference = build_reference()
    save(module, reference, folder / WEIGHTS)
    if zero_fraction(module) >= SPARSE_FRACTION:
        compress_checkpoint(folder / WEIGHTS)
    known = build_reference if isinstance(build_reference, Reference) else Reference(build_reference)
    write_description(module, folder, spec, architecture=known.architecture, task=known.task)
    return export_program(module, spec, folder / PROGRAM) if has_other_structure(module, reference) else ()


def save_scores(scores: np.ndarray, folder: Path, answers: np.ndarray | None = None) -> None:
    """Write per-sample scores, and the classes that the samples are given, where they are given one."""
    _save_array(scores, folder / SCORES)
    if answers is not None:
        _save_array(answers, folder / ANSWERS)


def _save_array(values: np.ndarray, path: Path) -> None:

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            np.save(file, values)

    write_with(path, write)


def read_manifest(folder: Path) -> CandidateManifest:
    """The manifest of a stage folder: form of the candidate, files by runtime, input specification.

    Raises:
        OSError: The folder has no manifest.
        ValueError: It is not JSON.
    """
    manifest: CandidateManifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return manifest
