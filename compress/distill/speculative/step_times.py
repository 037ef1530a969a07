"""Times of runs of target and draft, and the number of proposals that they make fastest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from compress.backends.decoder.session import DecoderSession
from compress.backends.decoder.speculative import expected_speedup
from compress.core.entries import Row

ROUNDS = 15


class StepTimes(NamedTuple):
    """Median times, s.

    Attributes:
        draft: A run of the draft on one token.
        target: Runs of the target on 1, 2, … tokens.
    """

    draft: float
    target: tuple[float, ...]

    @property
    def draft_cost(self) -> float:
        """Time c of a run of the draft over that of the target on one token."""
        return self.draft / self.target[0]

    def speedup(self, acceptance: float, k: int) -> float:
        """Expected speed-up with k proposals, see `expected_speedup`."""
        return expected_speedup(acceptance, k, self.draft_cost, self.target[k] / self.target[0])

    def best(self, acceptance: float) -> int:
        """The k with the largest expected speed-up."""
        return max(range(1, len(self.target)), key=lambda k: self.speedup(acceptance, k))

    def rows(self, acceptance: float) -> tuple[Row, ...]:
        """For each k: time of the target's run, expected speed-up, and that of the formula with v = 1."""
        return tuple(
            {
                "proposals_per_round": k,
                "target_ms": self.target[k] * 1000,
                "expected_speedup": self.speedup(acceptance, k),
                "expected_speedup_equal_runs": expected_speedup(acceptance, k, self.draft_cost),
            }
            for k in range(1, len(self.target))
        )


def measure_steps(target: DecoderSession, draft: DecoderSession, prompt: Sequence[int], most: int) -> StepTimes:
    """Time runs in turns, after a prompt.

    Args:
        target: Session of the target.
        draft: Session of the draft.
        prompt: Tokens before, at least one.
        most: Largest k.
    """
    room = min(target.context, draft.context) - len(prompt)
    sizes = range(1, min(most + 1, room) + 1)
    seconds: dict[int, list[float]] = {size: [] for size in (0, *sizes)}
    for session in (target, draft):
        session.start(session.context)
        session.read(list(prompt))
    for _ in range(ROUNDS):
        seconds[0].append(_timed(draft, len(prompt), 1))
        for size in sizes:
            seconds[size].append(_timed(target, len(prompt), size))
    medians = {size: float(np.median(values[1:])) for size, values in seconds.items()}
    return StepTimes(medians[0], tuple(medians[size] for size in sizes))


def _timed(session: DecoderSession, length: int, count: int) -> float:
    session.rewind(length)
    start = time.perf_counter()
    session.read([1] * count)
    return time.perf_counter() - start
