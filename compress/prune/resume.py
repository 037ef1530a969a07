"""Files from which an interrupted pruning stage resumes: the finished steps with their weights, and the measurements.

Damaged files, and files with another key (other settings, weights, data or seed), are ignored. All names begin with `step`; the
stage removes the files when it ends.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError
from torch import nn

from compress.core.atomic_files import write_text
from compress.core.entries import Row
from compress.core.fact import Facts
from compress.core.frozen_model import FrozenModel
from compress.core.record import Curve
from compress.core.stage import Context
from compress.models.checkpoint import load, save
from compress.train.checkpoints import network_hash

if TYPE_CHECKING:
    from compress.prune.stage import Prune

STATE, LOG = "steps.json", "step-measured.json"


class ResumeState(FrozenModel):
    """The finished steps.

    Attributes:
        key: Hash of everything that the steps depend on.
        rows: The table of steps; the first row is the dense network.
        curves: Training curves of the recoveries.
        notes: Notes of the last accepted step.
        removed_fractions: Removed fraction of each layer after each step.
    """

    key: str
    rows: tuple[Row, ...]
    curves: dict[str, Curve] = Field(default_factory=dict)
    notes: Facts = ()
    removed_fractions: tuple[dict[str, float], ...] = ()

    @property
    def step(self) -> int:
        """Number of finished steps."""
        return len(self.rows) - 1

    @property
    def last_accepted_step(self) -> int:
        """The last step that was not undone; 0 for the network before the first step."""
        return max(step for step, row in enumerate(self.rows) if row["kept"])


class LatencyLog(FrozenModel):
    """Measurements of a pruning stage so far; a rerun reads them and takes the same decisions.

    Attributes:
        key: As `key_of` returns it.
        dense_ms: Time of the dense network on the device of the target; None where it is not needed.
        layer_ms: Milliseconds of each layer, for `cost_aware: latency`; None where they are not needed.
        round_to: Multiple of channels.
        rounding: A row for each benchmarked multiple.
        speed: A row for each finished step.
    """

    key: str
    dense_ms: float | None = None
    layer_ms: dict[str, float] | None = None
    round_to: int = 1
    rounding: tuple[Row, ...] = ()
    speed: tuple[Row, ...] = ()


def key_of(stage: Prune, context: Context, parent: nn.Module) -> str:
    """Hex SHA-256 of everything that the steps depend on."""
    text = [stage.model_dump_json(), str(context.seed), network_hash(parent), context.data.train.fingerprint]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()


def read_state(folder: Path, key: str) -> ResumeState | None:
    """The stored state; None when there is none, it is damaged, or its key differs."""
    try:
        state = ResumeState.model_validate_json((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    return state if state.key == key else None


def write_state(state: ResumeState, module: nn.Module, reference: nn.Module, folder: Path) -> None:
    """Store a finished step: its weights, then the state; then remove older weights."""
    if state.last_accepted_step == state.step:
        save(module, reference, _weights_path(folder, state.step))
    write_text(folder / STATE, state.model_dump_json(indent=1))
    for step in range(state.last_accepted_step):
        _weights_path(folder, step).unlink(missing_ok=True)


def load_network(state: ResumeState, reference: nn.Module, folder: Path) -> nn.Module:
    """The network after the last accepted step.

    Raises:
        ModelError: Its file is missing or damaged.
    """
    return load(_weights_path(folder, state.last_accepted_step), reference)


def read_log(folder: Path, key: str) -> LatencyLog | None:
    """The stored log; None when there is none, it is damaged, or its key differs."""
    try:
        log = LatencyLog.model_validate_json((folder / LOG).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    return log if log.key == key else None


def _weights_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step}.safetensors"
