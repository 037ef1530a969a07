"""Learning rate over the steps, as a pure function: nothing to save, nothing to restore."""

from __future__ import annotations

import math
from typing import Literal

START = 25.0
END = 1e4


def lr_factor(step: int, total: int, *, kind: Literal["cosine", "onecycle", "constant"], warmup: float) -> float:
    """Learning rate of one step as a fraction of the peak.

    With W = warmup · total steps of warm-up:

        constant   min(1, (step + 1) / W)
        cosine     the same rise, then (1 + cos π t) / 2 with t from 0 to 1 (Loshchilov & Hutter 2017, arXiv:1608.03983)
        onecycle   from 1/25 to 1 and on to 1/25e4 in two half cosines, the top at W (Smith & Topin 2018, arXiv:1708.07120);
                   equal to torch's `OneCycleLR` without its momentum cycle

    Args:
        step: Step, counted from 0; later ones than the last count as the last.
        total: Steps of the whole training, at least 1.
        kind: See above.
        warmup: Fraction of all steps, in [0, 1).

    Returns:
        A factor over 0, at most 1.
    """
    step = min(step, total - 1)
    if kind == "onecycle":
        return _onecycle(step, total, warmup)
    rise = math.ceil(warmup * total)
    if step < rise:
        return (step + 1) / rise
    if kind == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (step - rise) / max(total - rise, 1))) / 2


def _onecycle(step: int, total: int, warmup: float) -> float:
    top = max(warmup * total - 1, 0.0)
    if step < top:
        return _between(1 / START, 1.0, step / top)
    return _between(1.0, 1 / START / END, (step - top) / max(total - 1 - top, 1e-9))


def _between(start: float, end: float, t: float) -> float:
    """Half a cosine from `start` (t = 0) to `end` (t = 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * min(t, 1.0))) / 2
