"""Slope of a series over time, whatever its outliers, with an interval.

    slope = median over i < j of (y_j − y_i) / (x_j − x_i)
    interval: the ⌊(N − C)/2⌋-th and ⌈(N + C)/2⌉ + 1-th of the N sorted slopes,  C = z √(n(n−1)(2n+5)/18)

Sen 1968, "Estimates of the regression coefficient based on Kendall's tau", JASA 63:1379. A third of the points may be
arbitrarily wrong. Points must be independent for the interval to hold: give means or medians of stretches of time.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from compress.core.statistics import Z

FEWEST = 5
"""Points under which the interval would reach beyond all slopes."""


def theil_sen(x: ArrayLike, y: ArrayLike) -> tuple[float, float, float] | None:
    """Theil–Sen slope with its 95 % interval.

    Args:
        x: (n,), increasing.
        y: (n,).

    Returns:
        Slope in units of y by unit of x, low end, high end; None for fewer than 5 points.

    Raises:
        ValueError: Different lengths, or x does not increase.
    """
    across, up = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if across.shape != up.shape or across.ndim != 1 or (np.diff(across) <= 0).any():
        msg = f"needs two series of one length, the first increasing; got shapes {across.shape} and {up.shape}"
        raise ValueError(msg)
    n = len(across)
    if n < FEWEST:
        return None
    first, second = np.triu_indices(n, 1)
    slopes = np.sort((up[second] - up[first]) / (across[second] - across[first]))
    count = len(slopes)
    reach = Z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(math.floor((count - reach) / 2) - 1, 0)
    high = min(math.ceil((count + reach) / 2), count - 1)
    return float(np.median(slopes)), float(slopes[low]), float(slopes[high])
