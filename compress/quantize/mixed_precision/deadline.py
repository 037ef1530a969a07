"""Time limit of a search."""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadline:
    """A time limit that a search checks between trials.

    Args:
        seconds: Time limit, from now on.
        now: Returns the time of a clock, in seconds.

    Attributes:
        missed: Whether a check was after the limit; the search is then incomplete.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._end = now, now() + seconds
        self.missed = False

    def passed(self) -> bool:
        """Whether the time is over."""
        self.missed = self.missed or self._now() >= self._end
        return self.missed
