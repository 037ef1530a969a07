"""Files of a training: a checkpoint while it runs, and the result when it is finished. Both are written atomically.

Hooks after an optimizer step may have a state, which is part of the checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from compress.core.atomic_files import sha256, write_text, write_with
from compress.core.entries import State, mapping
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.object_fingerprint import fingerprint_object
from compress.train.history import History


def network_hash(module: nn.Module) -> str:
    """Hex SHA-256 of a network: weights, buffers, structure and settings of its layers, and the user's code that they run.

    It depends neither on the device nor on the memory format. A network that cannot be read in full gets a random hash, so that
    no stored result is reused for it.
    """
    fingerprint = fingerprint_object(module)
    return fingerprint.sha256 if not fingerprint.unread else secrets.token_hex(32)


def clone_state(module: nn.Module) -> dict[str, Tensor]:
    """Copies of the current weights and buffers, by name."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def tensor_of(state: State, name: str) -> Tensor:
    """An entry of a state that is a tensor.

    Raises:
        KeyError: There is no such entry.
        TypeError: It is something else.
    """
    return as_tensor(state[name], name)


def as_tensor(value: object, name: str) -> Tensor:
    """A value from a state that must be a tensor.

    Raises:
        TypeError: It is something else; `name` is its place in the state.
    """
    if not isinstance(value, Tensor):
        msg = gettext("{name!r} must be a tensor, not {kind}", name=name, kind=type(value).__name__)
        raise TypeError(msg)
    return value


def tensors_of(state: State, name: str) -> dict[str, Tensor]:
    """Tensors by name of an entry of a state; empty where it is None or absent.

    Raises:
        TypeError: It holds something else.
    """
    entries = mapping(state, name)
    tensors = {key: value for key, value in entries.items() if isinstance(value, Tensor)}
    if len(tensors) < len(entries):
        msg = gettext(
            "{name!r} must hold tensors alone; not a tensor: {entries}",
            name=name,
            entries=", ".join(sorted(entries.keys() - tensors.keys())),
        )
        raise TypeError(msg)
    return tensors


def save_weights(module: nn.Module, path: Path) -> None:
    """Write weights and buffers; a tensor with several names is written under each name."""
    state = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    contiguous = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    save_file(contiguous, path)


def load_weights(module: nn.Module, path: Path) -> None:
    """Load the file that `save_weights` wrote for a network of the same structure.

    Raises:
        OSError: The file is missing.
        SafetensorError: The file is damaged.
        RuntimeError: The file is from another network.
    """
    state = load_file(path)
    extra = {name: value for name, value in module.state_dict().items() if not isinstance(value, Tensor)}
    module.load_state_dict(state | extra)


@dataclass(frozen=True)
class Checkpoints:
    """The files of one training.

    Attributes:
        folder: Folder of the files.
        label: Prefix of their names; trainings in one folder need different labels.
        identity: Hash of everything that the result depends on; a training does not continue from files of another identity.
    """

    folder: Path
    label: str
    identity: str

    @property
    def checkpoint_path(self) -> Path:
        """State at the end of the last epoch; exists only while the training is unfinished."""
        return self.folder / f"{self.label}.checkpoint.pt"

    @property
    def weights_path(self) -> Path:
        """Weights of the finished training."""
        return self.folder / f"{self.label}.done.safetensors"

    @property
    def summary_path(self) -> Path:
        """Identity, history and the hash of the weights file; written last."""
        return self.folder / f"{self.label}.done.json"

    def save(self, state: State) -> None:
        """Write the state at the end of an epoch: tensors and plain containers only."""
        write_with(self.checkpoint_path, lambda path: torch.save({"identity": self.identity, **state}, path))

    def load(self) -> tuple[State | None, Fact | None]:
        """The state to continue from; or None, with a fact about the reason where a file exists."""
        path = self.checkpoint_path
        if not path.exists():
            return None, None
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # torch writes checksums but does not verify them
            if damaged is not None:
                return None, Fact.of("train.checkpoint_damaged", path.name, detail=damaged)
            state: dict[str, object] = torch.load(path, map_location="cpu", weights_only=True)
            identity = state.pop("identity")
        except Exception as error:  # a damaged archive or pickle may raise anything
            return None, Fact.of("train.checkpoint_damaged", path.name, detail=type(error).__name__)
        if identity != self.identity:
            return None, Fact.of("train.checkpoint_of_other_training", path.name)
        return state, None

    def finish(self, module: nn.Module, history: History) -> None:
        """Write the result and remove the checkpoint."""
        write_with(self.weights_path, lambda path: save_weights(module, path))
        summary = {"identity": self.identity, "sha256": sha256(self.weights_path), "history": history.to_json()}
        write_text(self.summary_path, json.dumps(summary, indent=1))
        self.checkpoint_path.unlink(missing_ok=True)

    def finished(self, module: nn.Module) -> History | None:
        """Load the result into `module`; None when there is no result of this training, or it is damaged."""
        try:
            summary = json.loads(self.summary_path.read_text(encoding="utf-8"))
            if summary["identity"] != self.identity or summary["sha256"] != sha256(self.weights_path):
                return None
            history = History.from_json(summary["history"])
            load_weights(module, self.weights_path)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError):
            return None
        return history


@runtime_checkable
class StatefulHook(Protocol):
    """A hook that is called after each optimizer step and has a state.

    Attributes:
        identity: Everything that its effect depends on, as text; part of the fingerprint of the training.
    """

    identity: str

    def __call__(self) -> None:
        """Called after an optimizer step."""

    def state_dict(self) -> State:
        """Tensors and plain containers."""

    def load_state_dict(self, state: State) -> None:
        """Continue from a state of `state_dict`."""


def fingerprint_with_hook(fingerprint: str, after_step: Callable[[], None] | None) -> str:
    """Fingerprint of a training and its hook; a hook without a state does not change it."""
    if not isinstance(after_step, StatefulHook):
        return fingerprint
    return hashlib.sha256(f"{fingerprint}\n{after_step.identity}".encode()).hexdigest()


def hook_state(after_step: Callable[[], None] | None) -> State:
    """State of a hook for a checkpoint; empty for a hook without a state."""
    return after_step.state_dict() if isinstance(after_step, StatefulHook) else {}


def restore_hook(after_step: Callable[[], None] | None, state: State) -> None:
    """Restore the state of a hook."""
    if isinstance(after_step, StatefulHook):
        after_step.load_state_dict(state)
