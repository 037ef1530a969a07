"""Percentile bootstrap: 95 % intervals by resampling, seeded, with numpy only.

The agent on a device over SSH runs this file, and scipy may be missing on such a device. `scipy.stats.bootstrap` gives
the same interval for one sample; for two samples it draws in another order, so that seeded results would differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from compress.core.language import gettext

TAIL = 0.025
"""Probability outside an interval on each side."""

LEAST_SAMPLES = 10
"""Fewest samples whose percentile-bootstrap interval is of use as one of 95 %.

With n samples it is √((n − 1)/n) · z/t_{n−1} as wide as the t interval of a mean: 0.82 for 10, 0.63 for 5, and a point for one
sample, whatever the truth. Hesterberg 2015, "What Teachers Should Know About the Bootstrap", The American Statistician 69:371.
"""

Vector = NDArray[np.float64]


def as_vector(samples: ArrayLike, least: int = 1) -> Vector:
    """Samples as float64, (n,).

    Raises:
        ValueError: There are fewer than `least` samples, or a sample is not finite.
    """
    vector = np.asarray(samples, dtype=np.float64).ravel()
    if vector.size < least or not np.isfinite(vector).all():
        msg = gettext(
            "needs at least {least} finite samples, got {size} of which {finite} are finite",
            least=least,
            size=vector.size,
            finite=int(np.isfinite(vector).sum()),
        )
        raise ValueError(msg)
    return vector


def _resampled(
    groups: Sequence[Vector], statistic: Callable[..., float], resamples: int, seed: int
) -> tuple[float, tuple[float, float]]:
    """Point estimate and percentile-bootstrap interval of a statistic of independently resampled groups."""
    generator = np.random.default_rng(seed)
    drawn = [statistic(*(group[generator.integers(0, group.size, group.size)] for group in groups)) for _ in range(resamples)]
    low, high = np.quantile(drawn, (TAIL, 1 - TAIL))
    point = float(statistic(*groups))
    return point, (min(point, float(low)), max(point, float(high)))


def _mean(samples: Vector) -> float:
    return float(samples.mean())


def bootstrap_interval(
    samples: ArrayLike, statistic: Callable[[Vector], float] = _mean, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of a statistic of one sample, by the percentile bootstrap.

    It is too narrow for about 12 samples or fewer. Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.

    Args:
        samples: Independent samples, (n,), n ≥ 2.
        statistic: Function of a vector (n,), by default the mean.
        resamples: Number of resamples, each n samples drawn with replacement.
        seed: Equal seeds give equal intervals.

    Returns:
        Low and high end.

    Raises:
        ValueError: Fewer than two samples.
    """
    return _resampled([as_vector(samples, 2)], statistic, resamples, seed)[1]


def ratio_interval(a: ArrayLike, b: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Ratio of medians, median(a) / median(b), with a 95 % percentile-bootstrap interval: the speed-up of b over a.

    The two sets are resampled independently; see `bootstrap_interval`.

    Args:
        a: Times of the slower network, (n,), positive, n ≥ 2.
        b: Times of the faster network, (m,), positive, m ≥ 2.
        resamples: Number of resamples.
        seed: Equal seeds give equal intervals.

    Returns:
        Ratio, low end, high end.

    Raises:
        ValueError: A set has fewer than two samples, or a sample is not positive.
    """
    first, second = as_vector(a, 2), as_vector(b, 2)
    if min(first.min(), second.min()) <= 0:
        msg = gettext("a ratio of medians needs positive samples")
        raise ValueError(msg)

    def ratio(x: Vector, y: Vector) -> float:
        return float(np.median(x) / np.median(y))

    point, (low, high) = _resampled([first, second], ratio, resamples, seed)
    return point, low, high
