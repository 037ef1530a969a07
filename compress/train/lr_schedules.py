"""Learning rate schedules as a pure function of the step, so that a checkpoint needs no state of theirs."""

from __future__ import annotations

import math
from typing import Literal

START = 25.0
END = 1e4


def lr_factor(step: int, total: int, *, kind: Literal["cosine", "onecycle", "constant"], warmup: float) -> float:
    """Learning rate of one step as a fraction of the peak.

    With W = warmup · total steps of warm-up:

        constant   min(1, (step + 1) / W)
        cosine     the same warm-up, then (1 + cos π t) / 2 with t from 0 to 1 (Loshchilov & Hutter 2017, arXiv:1608.03983)
        onecycle   from 1/25 to 1 at step W, then to 1/25e4, each part half a cosine (Smith & Topin 2018, arXiv:1708.07120);
                   equal to torch's `OneCycleLR` without the cycle of its momentum

    Args:
        step: Index of the step, from 0; beyond the last it counts as the last.
        total: Number of steps of the training, at least 1.
        kind: The schedule.
        warmup: Fraction of all steps, in [0, 1).

    Returns:
        A factor over 0, at most 1.
    """
    step = min(step, total - 1)
    if kind == "onecycle":
        return _onecycle(step, total, warmup)
    warmup_steps = math.ceil(warmup * total)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if kind == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (step - warmup_steps) / max(total - warmup_steps, 1))) / 2


def _onecycle(step: int, total: int, warmup: float) -> float:
    peak = max(warmup * total - 1, 0.0)
    if step < peak:
        return _half_cosine(1 / START, 1.0, step / peak)
    return _half_cosine(1.0, 1 / START / END, (step - peak) / max(total - 1 - peak, 1e-9))


def _half_cosine(start: float, end: float, t: float) -> float:
    """Half a cosine from `start` (t = 0) to `end` (t = 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * min(t, 1.0))) / 2
