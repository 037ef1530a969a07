"""Finished points of the chain: a record, a folder, and the candidate that loads only when somebody needs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.atomic_files import write_text, write_with
from compress.core.record import InputSpec, StageRecord
from compress.core.stage import Candidate

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "model.safetensors"
FLOAT_ONNX = "model.onnx"
MANIFEST = "candidate.json"
CORRECT = "correct.npy"


@dataclass(frozen=True)
class StageOutput:
    """One finished point.

    Attributes:
        record: What it says of itself.
        folder: Its files.
        reference: Gives the network, whatever its weights, that its checkpoint is read against.
        previous: The point before it; None at the start and for teachers.
    """

    record: StageRecord
    folder: Path
    reference: Callable[[], nn.Module]
    previous: StageOutput | None = None

    @property
    def origin(self) -> StageOutput:
        """The point whose files this candidate is: itself, or the one before when the stage changed nothing."""
        if not _pointer(self.folder).get("same"):
            return self
        if self.previous is None:
            msg = f"{self.folder / MANIFEST} points before the start of the chain"
            raise ValueError(msg)
        return self.previous.origin

    @property
    def lineage(self) -> tuple[str, ...]:
        """Keys from the start to here."""
        return (*(self.previous.lineage if self.previous else ()), self.record.key)

    def spec(self) -> InputSpec:
        """Input and classes of its candidate."""
        return InputSpec.model_validate(_pointer(self.folder)["spec"])

    def candidate(self) -> Candidate:
        """Load it."""
        origin = self.origin
        pointer = _pointer(origin.folder)
        files = {family: origin.folder / name for family, name in pointer["files"].items()}
        module = None
        if pointer["form"] == "torch":
            from compress.models.checkpoint import load
            from compress.models.compressed_checkpoint import unpacked

            with unpacked(origin.folder / WEIGHTS) as path:
                module = load(path, self.reference())
        return Candidate(self.spec(), module, {} if module is not None else files, self.lineage, pointer.get("runtimes", {}))

    def onnx(self) -> Path | None:
        """Its ONNX file: the candidate itself, or the float export of a torch candidate; None where none was made."""
        origin = self.origin
        name = _pointer(origin.folder)["files"].get("onnxruntime")
        return origin.folder / name if name else None

    def float_onnx(self) -> Path | None:
        """The float ONNX file of the last torch network up to here."""
        if self.record.form == "torch":
            return self.onnx()
        return self.previous.float_onnx() if self.previous else None

    def float_network(self) -> nn.Module:
        """Load the last torch network up to here."""
        if self.record.form == "torch" or self.previous is None:
            return self.candidate().network()
        return self.previous.float_network()

    def train(self) -> Path | None:
        """The distilled set that the last stage up to here to make one left for those after it; None where none did."""
        name = _pointer(self.folder).get("train")
        if name:
            return self.folder / str(name)
        return self.previous.train() if self.previous else None

    def correct(self) -> np.ndarray | None:
        """Per-sample scores on the test split; None where accuracy was not measured."""
        path = self.origin.folder / CORRECT
        return np.load(path, allow_pickle=False) if path.exists() else None


def save_output(
    candidate: Candidate, folder: Path, reference: Callable[[], nn.Module], *, same: bool, train: Path | None = None
) -> None:
    """Write what `StageOutput.candidate` reads."""
    names = {family: str(path.relative_to(folder)) for family, path in candidate.files.items()} if not same else {}
    if candidate.module is not None and not same:
        from compress.models.checkpoint import save
        from compress.models.compressed_checkpoint import SPARSE, pack, zero_fraction

        save(candidate.module, reference(), folder / WEIGHTS)
        if zero_fraction(candidate.module) >= SPARSE:
            pack(folder / WEIGHTS)
        names = {"onnxruntime": FLOAT_ONNX} if (folder / FLOAT_ONNX).exists() else {}
    pointer: dict[str, Any] = {
        "form": candidate.form,
        "same": same,
        "files": names,
        "spec": candidate.spec.model_dump(mode="json"),
    }
    pointer |= {"runtimes": dict(candidate.runtimes)} if candidate.runtimes and not same else {}
    if train is not None:
        pointer["train"] = str(train.relative_to(folder))
    write_text(folder / MANIFEST, json.dumps(pointer, indent=1))


def save_scores(correct: np.ndarray, folder: Path) -> None:
    """Write per-sample scores."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, correct)

    write_with(folder / CORRECT, write)


def _pointer(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
