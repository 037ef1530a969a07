"""Callbacks after each optimizer step that have a state, which checkpoints hold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class StatefulHook(Protocol):
    """Called after each optimizer step.

    Attributes:
        identity: Everything that its effect depends on, as text; enters the fingerprint of the training.
    """

    identity: str

    def __call__(self) -> None:
        """Called after one optimizer step."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain containers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of `state_dict`."""


def fingerprint_with_hook(fingerprint: str, after_step: Callable[[], None] | None) -> str:
    """Fingerprint of a training and its hook; that of the training alone where the hook has no state."""
    if not isinstance(after_step, StatefulHook):
        return fingerprint
    return hashlib.sha256(f"{fingerprint}\n{after_step.identity}".encode()).hexdigest()


def hook_state(after_step: Callable[[], None] | None) -> dict[str, Any]:
    """State of a hook for a checkpoint; empty where it has none."""
    return after_step.state_dict() if isinstance(after_step, StatefulHook) else {}


def restore_hook(after_step: Callable[[], None] | None, state: dict[str, Any]) -> None:
    """Restore the state of a hook."""
    if isinstance(after_step, StatefulHook):
        after_step.load_state_dict(state)
