"""What a pruning stage has measured, as a file in its folder, so that a rerun goes on with the same decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compress.core.frozen_model import FrozenModel

FILE = "step-measured.json"
"""Begins like the files of the steps, with which it goes when all are done."""


class LatencyLog(FrozenModel):
    """Times and rounding that one pruning has measured so far.

    Attributes:
        key: Key of the pruning, as `resume.key_of` gives it.
        dense_ms: Time of the dense network on the target's device; None where it is not needed.
        round_to: Multiple of channels.
        rounding: A row for each multiple that was benchmarked.
        speed: A row for each finished step.
    """

    key: str
    dense_ms: float | None = None
    round_to: int = 1
    rounding: tuple[dict[str, Any], ...] = ()
    speed: tuple[dict[str, Any], ...] = ()


def read_log(path: Path, key: str) -> LatencyLog | None:
    """The log of this very pruning; None when there is none, or it is damaged."""
    try:
        log = LatencyLog.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    return log if log.key == key else None
