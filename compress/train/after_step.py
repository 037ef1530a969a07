"""What may be called after each change of the weights and has a state of its own, which a checkpoint must hold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class StatefulHook(Protocol):
    """Called after each optimizer step.

    Attributes:
        identity: All that its effect depends on, as text; enters the identity of the training.
    """

    identity: str

    def __call__(self) -> None:
        """One step was taken."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain containers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


def fingerprint_with_hook(identity: str, after_step: Callable[[], None] | None) -> str:
    """Identity of a training together with its hook; its own where the hook has no state."""
    if not isinstance(after_step, StatefulHook):
        return identity
    return hashlib.sha256(f"{identity}\n{after_step.identity}".encode()).hexdigest()


def hook_state(after_step: Callable[[], None] | None) -> dict[str, Any]:
    """What a checkpoint holds of a hook."""
    return after_step.state_dict() if isinstance(after_step, StatefulHook) else {}


def restore_hook(after_step: Callable[[], None] | None, state: dict[str, Any]) -> None:
    """Put it back."""
    if isinstance(after_step, StatefulHook):
        after_step.load_state_dict(state)
