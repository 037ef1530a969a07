"""Fraction removed after each of n steps, as functions of the step; and the accuracy-aware search.

A schedule returns s_t, the fraction removed after step t of n (t = 0 … n). It rises from s_i at t = 0 to s_f at t = n.
"""

from __future__ import annotations

from collections.abc import Sequence

from compress.core.fact import Fact
from compress.core.language import gettext


def _check(t: int, n: int) -> None:
    if n < 1 or not 0 <= t <= n:
        msg = gettext("step t = {t} of n = {n} is outside the schedule; use n of at least 1 and t from 0 to n", t=t, n=n)
        raise ValueError(msg)


def one_shot(t: int, n: int, *, s_f: float, s_i: float = 0.0) -> float:
    """Everything in the first step: s_t = s_f for t ≥ 1."""
    _check(t, n)
    return s_f if t else s_i


def linear(t: int, n: int, *, s_f: float, s_i: float = 0.0) -> float:
    """Equal steps: s_t = s_f + (s_i − s_f)(1 − t/n)."""
    _check(t, n)
    return s_f + (s_i - s_f) * (1 - t / n)


def cubic(t: int, n: int, *, s_f: float, s_i: float = 0.0) -> float:
    """Large steps first, while the network has most redundancy, then smaller steps.

        s_t = s_f + (s_i − s_f)(1 − t/n)³

    Zhu & Gupta 2017, "To prune, or not to prune", arXiv:1710.01878, equation 1.

    Args:
        t: Number of finished steps, 0 … n.
        n: Number of all steps, at least 1.
        s_f: Final fraction removed, in [0, 1].
        s_i: Fraction removed at the start, in [0, s_f].

    Returns:
        Fraction removed after step t.

    Raises:
        ValueError: t is outside 0 … n.
    """
    _check(t, n)
    return s_f + (s_i - s_f) * (1 - t / n) ** 3


def exponential(t: int, n: int, *, s_f: float, s_i: float = 0.0) -> float:
    """The same fraction of the remaining weights in each step: 1 − s_t = (1 − s_i)^(1 − t/n) · (1 − s_f)^(t/n), s_f < 1.

    Used for the rounds of lottery tickets: Frankle & Carbin 2019, arXiv:1803.03635.
    """
    _check(t, n)
    return 1 - (1 - s_i) ** (1 - t / n) * (1 - s_f) ** (t / n) if t < n else s_f


def next_ratio(tries: Sequence[tuple[float, bool]], *, s_f: float, n: int, retries: int) -> float | None:
    """The next fraction of the accuracy-aware search: a step that loses too much is undone, and half of it is tried.

        before a step is undone: s_f · t / n;   afterwards: the mean of the largest accepted and the smallest rejected fraction

    Similar searches are the accuracy-aware training of NNCF and NetAdapt (Yang et al. 2018, arXiv:1804.03230), which takes the
    largest step that the accuracy allows.

    Args:
        tries: (fraction removed, whether it was accepted) of each step so far.
        s_f: Final fraction removed, in (0, 1).
        n: Number of steps to s_f.
        retries: Number of steps after the first rejected one.

    Returns:
        The fraction, or None when s_f is reached or the retries are used up.
    """
    largest_accepted = max((s for s, is_accepted in tries if is_accepted), default=0.0)
    smallest_rejected = min((s for s, is_accepted in tries if not is_accepted), default=None)
    if smallest_rejected is None:
        t = len(tries) + 1
        return None if t > n else s_f * t / n if t < n else s_f
    since = len(tries) - next(index for index, (_, is_accepted) in enumerate(tries) if not is_accepted) - 1
    return None if since >= retries else (largest_accepted + smallest_rejected) / 2


def find_cliff(tries: Sequence[tuple[float, bool]], losses: Sequence[float], *, s_f: float, drop: float) -> Fact | None:
    """The accuracy cliff: the smallest rejected fraction; None when no step was rejected.

    Args:
        tries: As for `next_ratio`.
        losses: Loss of the metric against the dense network after each step.
        s_f: Final fraction to remove.
        drop: Largest allowed loss of the metric.
    """
    rejections = [(s, loss) for (s, is_accepted), loss in zip(tries, losses, strict=True) if not is_accepted]
    if not rejections:
        return None
    removed, loss = min(rejections)
    largest_accepted = max((s for s, is_accepted in tries if is_accepted), default=0.0)
    return Fact.of("prune.accuracy_cliff", removed=removed, lost=loss, allowed=drop, retained=largest_accepted, asked=s_f)
