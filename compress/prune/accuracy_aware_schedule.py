"""Iterative pruning that stops before the cliff: a step that loses too much accuracy is undone and tried half as far.

Best-so-far search as in accuracy-aware compression (NNCF) and NetAdapt (Yang et al. 2018, arXiv:1804.03230), which takes the
longest step that the accuracy allows.
"""

from __future__ import annotations

from collections.abc import Sequence

from compress.core.fact import Fact


def next_ratio(tries: Sequence[tuple[float, bool]], *, s_f: float, n: int, retries: int) -> float | None:
    """The fraction to remove next, a pure function of what was tried.

        before the cliff: s_f · t / n;   after it: halfway between the largest fraction kept and the smallest undone

    Args:
        tries: (fraction removed, whether it was kept) of each step so far.
        s_f: Final fraction removed, in (0, 1).
        n: Steps on the way to it.
        retries: Steps after the first that was undone.

    Returns:
        The fraction, or None when the end is reached or the retries are used up.
    """
    good = max((s for s, kept in tries if kept), default=0.0)
    bad = min((s for s, kept in tries if not kept), default=None)
    if bad is None:
        t = len(tries) + 1
        return None if t > n else s_f * t / n if t < n else s_f
    since = len(tries) - next(index for index, (_, kept) in enumerate(tries) if not kept) - 1
    return None if since >= retries else (good + bad) / 2


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
    good = max((s for s, kept in tries if kept), default=0.0)
    return Fact.of("prune.accuracy_cliff", removed=removed, lost=lost, allowed=drop, retained=good, asked=s_f)
