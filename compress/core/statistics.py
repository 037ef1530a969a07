"""How far to trust a figure: intervals at 95 % for proportions, paired differences, percentiles and ratios.

Pure functions on numbers and arrays. Every interval here holds its point estimate, and every random one is seeded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z = 1.959963984540054
"""The normal distribution's 97.5 % quantile: two-sided 95 %."""

TAIL = 0.025
"""Chance that an interval may leave out on each side."""

T = {3: 4.302652729911275, 5: 2.7764451051977987}
"""Student's t at 97.5 % with one degree of freedom less than there are parts of a series."""

Vector = NDArray[np.float64]


def _vector(samples: ArrayLike, least: int = 1) -> Vector:
    vector = np.asarray(samples, dtype=np.float64).ravel()
    if vector.size < least or not np.isfinite(vector).all():
        msg = f"needs at least {least} finite samples, got {vector.size} of which {int(np.isfinite(vector).sum())} are finite"
        raise ValueError(msg)
    return vector


def wilson(successes: int, total: int) -> tuple[float, float]:
    """95 % score interval of a proportion.

        (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n),   p = successes / n

    Stays inside [0, 1] and does not shrink to a point at 0 or n successes, as the textbook interval does.
    Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22:209.

    Args:
        successes: Between 0 and `total`.
        total: n, at least 1.

    Returns:
        Low and high end, in [0, 1].

    Raises:
        ValueError: No samples, or more successes than samples.
    """
    if total < 1 or not 0 <= successes <= total:
        msg = f"needs 0 ≤ successes ≤ total and total ≥ 1, got {successes} of {total}"
        raise ValueError(msg)
    n, p = total, successes / total
    middle = p + Z**2 / (2 * n)
    half = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    low = 0.0 if successes == 0 else (middle - half) / scale
    high = 1.0 if successes == total else (middle + half) / scale
    return max(0.0, low), min(1.0, high)


def paired_difference(a: ArrayLike, b: ArrayLike) -> tuple[float, float, float]:
    """Mean of a − b over the same samples, with a 95 % interval.

        d = (a_1 − b_1, …, a_n − b_n) and four pseudo-pairs of weight ½: 0, 0, +1, −1   (n' = n + 2)
        d̃ = Σ d / n',   interval d̃ ± z √((Σ d² / n' − d̃²) / n')

    For 0/1 scores this is the adjusted Wald interval of Agresti & Min 2005, "Simple improved confidence intervals for
    comparing matched proportions", Statistics in Medicine 24:729: half a pair is added to each cell of the 2 × 2 table, so
    that the interval does not shrink to a point when few pairs disagree. For scores between 0 and 1 the same pseudo-pairs
    stand at the ends of the range, which errs on the wide side.

    Args:
        a: Scores in [0, 1], (n,).
        b: Scores of the same samples in the same order, (n,).

    Returns:
        Plain mean of a − b, low end, high end, in [−1, 1]. The interval's middle is drawn towards 0 and so is not the mean.

    Raises:
        ValueError: Different lengths, no samples, or a score outside [0, 1].
    """
    first, second = _vector(a), _vector(b)
    if first.shape != second.shape:
        msg = f"paired scores must be of the same samples, got {first.size} and {second.size}"
        raise ValueError(msg)
    if min(first.min(), second.min()) < 0 or max(first.max(), second.max()) > 1:
        msg = "scores must lie in [0, 1]"
        raise ValueError(msg)
    d = first - second
    n = d.size + 2
    middle = float(d.sum()) / n
    variance = max(0.0, (float((d**2).sum()) + 1) / n - middle**2)
    half = Z * math.sqrt(variance / n)
    mean = float(d.mean())
    return mean, min(mean, max(-1.0, middle - half)), max(mean, min(1.0, middle + half))


def _check_quantile(q: float) -> None:
    if not 0 < q < 1:
        msg = f"q is a fraction between 0 and 1, such as 0.99 for p99; got {q}"
        raise ValueError(msg)


def _binomial_cdf(n: int, q: float) -> Vector:
    """P(B ≤ k) for k = 0 … n, B binomial."""
    k = np.arange(n + 1)
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, n + 1)))))
    log_pmf = log_factorial[n] - log_factorial - log_factorial[::-1] + k * math.log(q) + (n - k) * math.log1p(-q)
    return np.cumsum(np.exp(log_pmf))


def percentile_interval(samples: ArrayLike, q: float) -> tuple[float, float] | None:
    """95 % interval of a quantile between two order statistics, whatever the distribution.

        (x_(l), x_(u)),   l the largest with P(B < l) ≤ 2.5 %,  u the smallest with P(B ≥ u) ≤ 2.5 %,  B ~ Binomial(n, q)

    The number of samples under the true quantile is binomial, so the chance to miss it is at most 5 %. Samples must be
    independent; drift over a session makes the true interval wider. Hahn & Meeker 1991, "Statistical Intervals", 5.2.

    Args:
        samples: (n,).
        q: The quantile as a fraction, 0.5 for p50, 0.99 for p99.

    Returns:
        Low and high end in the samples' unit; None when fewer than `runs_needed(q)` samples are given.

    Raises:
        ValueError: q outside (0, 1), or no samples.
    """
    _check_quantile(q)
    ordered = np.sort(_vector(samples))
    n = ordered.size
    if n < runs_needed(q):
        return None
    cdf = _binomial_cdf(n, q)
    l = int(np.searchsorted(cdf, TAIL, side="right"))  # noqa: E741
    u = int(np.searchsorted(cdf, 1 - TAIL, side="left")) + 1
    point = float(np.quantile(ordered, q))
    return min(point, float(ordered[max(l, 1) - 1])), max(point, float(ordered[min(u, n) - 1]))


def runs_needed(q: float) -> int:
    """The fewest samples from which the quantile q has a two-sided 95 % order-statistic interval.

        smallest n with max(q, 1 − q)^n ≤ 2.5 %:   6 for p50, 36 for p90, 368 for p99

    The smallest and the largest sample then enclose the quantile. MLPerf Inference's early stopping asks the same question
    one-sided at 99 % (Inference rules, "Early Stopping Criterion"); this is its two-sided form at this module's 95 %.

    Raises:
        ValueError: q outside (0, 1).
    """
    _check_quantile(q)
    return math.ceil(math.log(TAIL) / math.log(max(q, 1 - q)))


def drifting_percentile_interval(samples: ArrayLike, q: float, *, parts: int = 5) -> tuple[float, float] | None:
    """95 % interval of a quantile of a series that drifts: neighbours, clocks and caches make runs depend on those before.

    The series is cut into b parts in order of time. How much the parts disagree on the share of runs below the quantile
    gives the standard error of that share, whatever the dependence within a part:

        p_i = share of part i at or below x̂_q,   s = √(Σ (p_i − p̄)² / (b − 1)),   h = t_{b−1; 97.5 %} · s / √b
        interval [x̂_{q−h}, x̂_{q+h}]

    Batch means on the indicator of a quantile: Heidelberger & Lewis 1984, "Quantile estimation in dependent sequences",
    Operations Research 32:185. Never narrower than `percentile_interval`, and never wider than the samples. Drift that is
    slower than the whole series stays unseen.

    Args:
        samples: In order of time, (n,).
        q: The quantile as a fraction.
        parts: b, 3 or 5. Fewer are longer against the drift and give wider intervals.

    Returns:
        Low and high end in the samples' unit; None when fewer than `runs_needed(q)` samples are given.

    Raises:
        ValueError: q outside (0, 1), or no samples.
    """
    series = _vector(samples)
    independent = percentile_interval(series, q)
    if independent is None:
        return None
    below = (series <= np.quantile(series, q)).astype(np.float64)
    shares = [part.mean() for part in np.array_split(below, parts)]
    h = T[parts] * float(np.std(shares, ddof=1)) / math.sqrt(parts)
    low, high = np.quantile(series, [max(0.0, q - h), min(1.0, q + h)])
    return min(independent[0], float(low)), max(independent[1], float(high))


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
    """95 % interval of any statistic of one sample, by the percentile bootstrap.

    Too narrow for a dozen samples or fewer. Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.

    Args:
        samples: (n,), independent, at least 2.
        statistic: From a vector to a number; the mean unless told.
        resamples: How often to draw n of n with replacement.
        seed: Equal seeds give equal intervals.

    Returns:
        Low and high end.

    Raises:
        ValueError: Fewer than two samples.
    """
    return _resampled([_vector(samples, 2)], statistic, resamples, seed)[1]


def ratio_interval(a: ArrayLike, b: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Ratio of medians, median(a) / median(b), with a 95 % percentile-bootstrap interval: "how many times faster".

    Each set is resampled on its own; see `bootstrap_interval`.

    Args:
        a: Times of the slower one, positive, (n,), at least 2.
        b: Times of the faster one, positive, (m,), at least 2.
        resamples: How often to draw.
        seed: Equal seeds give equal intervals.

    Returns:
        Ratio, low end, high end.

    Raises:
        ValueError: Fewer than two samples in a set, or one that is not positive.
    """
    first, second = _vector(a, 2), _vector(b, 2)
    if min(first.min(), second.min()) <= 0:
        msg = "a ratio of medians needs positive samples"
        raise ValueError(msg)

    def ratio(x: Vector, y: Vector) -> float:
        return float(np.median(x) / np.median(y))

    point, (low, high) = _resampled([first, second], ratio, resamples, seed)
    return point, low, high
