"""What the loop of the pruning stage has finished, as a file: written after each step, read by a rerun.

A state with another key (other settings, weights, data or seed) is not used, nor is one whose weights are missing or damaged.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError
from torch import nn

from compress.core.atomic_files import write_text
from compress.core.fact import Facts
from compress.core.frozen_model import FrozenModel
from compress.core.record import Curve
from compress.core.stage import Context
from compress.models.checkpoint import load, save
from compress.train.checkpoints import weights_hash

if TYPE_CHECKING:
    from compress.prune.stage import Prune

STATE = "steps.json"


class ResumeState(FrozenModel):
    """What is finished.

    Attributes:
        key: Hash of all that the steps depend on.
        rows: The table so far; the first is the dense network.
        curves: Of the recoveries.
        notes: Of the last cut that was kept.
        gone: Of each step, the fraction of each layer that was gone after it.
    """

    key: str
    rows: tuple[dict[str, Any], ...]
    curves: dict[str, Curve] = Field(default_factory=dict)
    notes: Facts = ()
    gone: tuple[dict[str, float], ...] = ()

    @property
    def step(self) -> int:
        """Finished steps."""
        return len(self.rows) - 1

    @property
    def kept(self) -> int:
        """The step whose network goes on: the last one that was not undone; 0 for the network before the first cut."""
        return max(step for step, row in enumerate(self.rows) if row["kept"])


def key_of(stage: Prune, context: Context, parent: nn.Module) -> str:
    """Hex SHA-256 of all that the steps depend on."""
    text = [stage.model_dump_json(), str(context.seed), weights_hash(parent), context.data.train.fingerprint]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()


def read(folder: Path, key: str) -> ResumeState | None:
    """The state of this very pruning; None when there is none, or not an unharmed one."""
    try:
        state = ResumeState.model_validate_json((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    return state if state.key == key else None


def write(state: ResumeState, module: nn.Module, reference: nn.Module, folder: Path) -> None:
    """Keep a finished step: weights first, then the state, then the older weights go."""
    if state.kept == state.step:
        save(module, reference, weights_of(folder, state.step))
    write_text(folder / STATE, state.model_dump_json(indent=1))
    for step in range(state.kept):
        weights_of(folder, step).unlink(missing_ok=True)


def network_of(state: ResumeState, reference: nn.Module, folder: Path) -> nn.Module:
    """The network that the last kept step left.

    Raises:
        ModelError: Missing or damaged.
    """
    return load(weights_of(folder, state.kept), reference)


def weights_of(folder: Path, step: int) -> Path:
    """Where a step's network stands."""
    return folder / f"step-{step}.safetensors"
