"""Theil–Sen estimator: a robust slope of a series with a confidence interval.

    slope = median over i < j of (y_j − y_i) / (x_j − x_i)

Sen 1968, "Estimates of the regression coefficient based on Kendall's tau", JASA 63:1379. Up to 29 % of the points may be
outliers. The interval is valid for independent points, such as means or medians of time windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import theilslopes

from compress.core.language import gettext

CONFIDENCE = 0.95

FEWEST = 5
"""Fewest points; with fewer, the interval would exceed the range of the slopes."""


def theil_sen(x: ArrayLike, y: ArrayLike) -> tuple[float, float, float] | None:
    """Theil–Sen slope with its 95 % interval.

    Args:
        x: (n,), increasing.
        y: (n,).

    Returns:
        Slope, lower and upper bound, in units of y per unit of x; None for fewer than 5 points.

    Raises:
        ValueError: The lengths differ, or x is not increasing.
    """
    times, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if times.shape != values.shape or times.ndim != 1 or (np.diff(times) <= 0).any():
        msg = gettext(
            "needs two series of one length, the first increasing; got shapes {shape} and {values_shape}",
            shape=times.shape,
            values_shape=values.shape,
        )
        raise ValueError(msg)
    if len(times) < FEWEST:
        return None
    result = theilslopes(values, times, CONFIDENCE)
    return float(result.slope), float(result.low_slope), float(result.high_slope)
