"""Files of a training: one checkpoint while it runs, the result when it is done. Both appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from compress.core.atomic_files import sha256, write_text, write_with
from compress.train.history import History


def weights_hash(module: nn.Module) -> str:
    """Hex SHA-256 of a network: kinds of its layers, names, types, shapes and values of its weights and buffers.

    Device and memory layout do not matter.
    """
    digest = hashlib.sha256()
    for name, part in module.named_modules():
        digest.update(f"{name}:{type(part).__qualname__}\n".encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


_UNREADABLE = (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError, OSError)


@dataclass(frozen=True)
class Checkpoints:
    """The files of one training.

    Attributes:
        folder: Where they stand.
        label: What they are named after; trainings in one folder need different labels.
        identity: Hash of all that the result depends on; files of another identity are not continued.
    """

    folder: Path
    label: str
    identity: str

    @property
    def checkpoint_path(self) -> Path:
        """State at the end of the last epoch; there only while the training is unfinished."""
        return self.folder / f"{self.label}.checkpoint.pt"

    @property
    def weights_path(self) -> Path:
        """Weights of the finished training."""
        return self.folder / f"{self.label}.done.safetensors"

    @property
    def summary_path(self) -> Path:
        """Identity, history and the hash of `weights`; written last."""
        return self.folder / f"{self.label}.done.json"

    def save(self, state: dict[str, Any]) -> None:
        """Write the state at an epoch's end: tensors and plain containers only."""
        write_with(self.checkpoint_path, lambda path: torch.save({"identity": self.identity, **state}, path))

    def load(self) -> tuple[dict[str, Any] | None, str]:
        """The state to continue from, or None with a note that says why not (empty when there is none)."""
        if not self.checkpoint_path.exists():
            return None, ""
        try:
            with zipfile.ZipFile(self.checkpoint_path) as archive:
                harmed = archive.testzip()  # torch writes checksums but does not look at them
            if harmed is not None:
                return None, f"checkpoint {self.checkpoint_path.name} is damaged (in {harmed}); the training started over"
            state: dict[str, Any] = torch.load(self.checkpoint_path, map_location="cpu", weights_only=True)
            identity = state.pop("identity")
        except _UNREADABLE as error:
            return (
                None,
                f"checkpoint {self.checkpoint_path.name} is damaged ({type(error).__name__}); the training started over",
            )
        if identity != self.identity:
            return (
                None,
                f"checkpoint {self.checkpoint_path.name} is of a training with other settings, data or weights; started over",
            )
        return state, ""

    def finish(self, module: nn.Module, history: History) -> None:
        """Write the result and remove the checkpoint."""
        write_with(self.weights_path, lambda path: save_model(module, str(path)))
        summary = {"identity": self.identity, "sha256": sha256(self.weights_path), "history": history.to_json()}
        write_text(self.summary_path, json.dumps(summary, indent=1))
        self.checkpoint_path.unlink(missing_ok=True)

    def finished(self, module: nn.Module) -> History | None:
        """Load the result of this very training into `module`; None when there is none, or not an unharmed one."""
        try:
            summary = json.loads(self.summary_path.read_text(encoding="utf-8"))
            if summary["identity"] != self.identity or summary["sha256"] != sha256(self.weights_path):
                return None
            history = History.from_json(summary["history"])
            load_model(module, str(self.weights_path))
        except (OSError, KeyError, TypeError, ValueError, SafetensorError):
            return None
        return history


def clone_state(module: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers as they are now, in memory of their own."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
