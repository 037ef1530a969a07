"""Fraction removed after each of n steps: pure functions of the step's number; and the accuracy-aware search.

All curves return s_t, the fraction removed after step t of n (t = 0 … n), from s_i at t = 0 to s_f at t = n, rising.
"""

from __future__ import annotations

from collections.abc import Sequence

from compress.core.fact import Fact


def _check(t: int, n: int) -> None:
    if n < 1 or not 0 <= t <= n:
        msg = f"step {t} of {n}: steps are counted from 0 to n, and n is at least 1"
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
    """Large steps first, while the network is most redundant, then smaller ones.

        s_t = s_f + (s_i − s_f)(1 − t/n)³

    Zhu & Gupta 2017, "To prune, or not to prune", arXiv:1710.01878, equation 1.

    Args:
        t: Finished steps, 0 … n.
        n: All steps, at least 1.
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
    """The same fraction of what is left in each step: 1 − s_t = (1 − s_i)^(1 − t/n) · (1 − s_f)^(t/n).

    The rounds of lottery tickets: Frankle & Carbin 2019, arXiv:1803.03635. s_f must be below 1.
    """
    _check(t, n)
    return 1 - (1 - s_i) ** (1 - t / n) * (1 - s_f) ** (t / n) if t < n else s_f


def next_ratio(tries: Sequence[tuple[float, bool]], *, s_f: float, n: int, retries: int) -> float | None:
    """The next fraction of the accuracy-aware search: a step that loses too much is undone and half of it is tried.

    Best-so-far search as in accuracy-aware compression (NNCF) and NetAdapt (Yang et al. 2018, arXiv:1804.03230), which takes
    the longest step that the accuracy allows.

        before the cliff: s_f · t / n;   after it: halfway between the largest fraction kept and the smallest undone

    Args:
        tries: (fraction removed, whether it was kept) of each step so far.
        s_f: Final fraction removed, in (0, 1).
        n: Steps on the way to it.
        retries: Steps after the first that was undone.

    Returns:
        The fraction, or None when the end is reached or the retries are used up.
    """
    largest_kept = max((s for s, kept in tries if kept), default=0.0)
    smallest_undone = min((s for s, kept in tries if not kept), default=None)
    if smallest_undone is None:
        t = len(tries) + 1
        return None if t > n else s_f * t / n if t < n else s_f
    since = len(tries) - next(index for index, (_, kept) in enumerate(tries) if not kept) - 1
    return None if since >= retries else (largest_kept + smallest_undone) / 2


def find_cliff(tries: Sequence[tuple[float, bool]], losses: Sequence[float], *, s_f: float, drop: float) -> Fact | None:
    """Where the accuracy cliff is: the smallest removed fraction that was undone; None when no step was.

    Args:
        tries: As above.
        losses: Metric lost against the dense network after each step.
        s_f: Final fraction to remove.
        drop: Largest allowed loss of the metric.
    """
    undone = [(s, lost) for (s, kept), lost in zip(tries, losses, strict=True) if not kept]
    if not undone:
        return None
    removed, lost = min(undone)
    largest_kept = max((s for s, kept in tries if kept), default=0.0)
    return Fact.of("prune.accuracy_cliff", removed=removed, lost=lost, allowed=drop, retained=largest_kept, asked=s_f)
