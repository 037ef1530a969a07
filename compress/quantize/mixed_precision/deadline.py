"""Time limit of a search."""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadline:
    """A time limit that a search checks between trials.

    Args:
        seconds: Length of the limit, from now on.
        now: Reads a clock, in seconds.

    Attributes:
        missed: Whether a check found the time over; the search is then incomplete.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._end = now, now() + seconds
        self.missed = False

    def passed(self) -> bool:
        """Whether the time is over; it stays over."""
        self.missed = self.missed or self._now() >= self._end
        return self.missed
