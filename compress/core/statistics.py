"""Intervals at 95 % for proportions, paired differences and percentiles.

Every interval contains its point estimate. Intervals by resampling, which a device
computes with numpy only, are in `compress.core.bootstrap`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, stdtrit

from compress.core.bootstrap import TAIL, Vector, as_vector
from compress.core.language import gettext

Z = 1.959963984540054
"""97.5 % quantile of the normal distribution, for two-sided 95 % intervals."""


def wilson(successes: int, total: int) -> tuple[float, float]:
    """95 % score interval of a proportion.

        (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n),   p = successes / n

    It is inside [0, 1] and, unlike the Wald interval, does not shrink to a point at 0 or n successes.
    Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22:209.

    Args:
        successes: Number of successes, from 0 to `total`.
        total: n, at least 1.

    Returns:
        Low and high end, in [0, 1].

    Raises:
        ValueError: There are no samples, or more successes than samples.
    """
    if total < 1 or not 0 <= successes <= total:
        msg = gettext("needs 0 ≤ successes ≤ total and total ≥ 1, got {successes} of {total}", successes=successes, total=total)
        raise ValueError(msg)
    from scipy.stats import binomtest  # the import takes half a second, and only this function needs it

    interval = binomtest(successes, total).proportion_ci(method="wilson")
    # at 0 and n the limit is exact; elsewhere rounding may exceed [0, 1] by one unit in the last place
    low = 0.0 if successes == 0 else float(interval.low)
    high = 1.0 if successes == total else float(interval.high)
    return max(0.0, low), min(1.0, high)


def paired_difference(a: ArrayLike, b: ArrayLike) -> tuple[float, float, float]:
    """Mean of a − b over the same samples, with a 95 % interval.

        d = (a_1 − b_1, …, a_n − b_n) and four pseudo-pairs of weight ½: 0, 0, +1, −1   (n' = n + 2)
        d̃ = Σ d / n',   interval d̃ ± z √((Σ d² / n' − d̃²) / n')

    For 0/1 scores this is the adjusted Wald interval of Agresti & Min 2005, "Simple improved confidence intervals for
    comparing matched proportions", Statistics in Medicine 24:729: half a pair is added to each cell of the 2 × 2 table, so
    that the interval does not shrink to a point when few pairs differ. For scores between 0 and 1 the same pseudo-pairs
    are at the ends of the range, which gives a wider interval.

    Args:
        a: Scores in [0, 1], (n,).
        b: Scores of the same samples in the same order, (n,).

    Returns:
        Mean of a − b, low end, high end, in [−1, 1]. The centre of the interval is nearer to 0 than the mean.

    Raises:
        ValueError: The lengths differ, there are no samples, or a score is outside [0, 1].
    """
    first, second = as_vector(a), as_vector(b)
    if first.shape != second.shape:
        msg = gettext(
            "paired scores need the same samples, got {size} and {second_size} scores", size=first.size, second_size=second.size
        )
        raise ValueError(msg)
    if min(first.min(), second.min()) < 0 or max(first.max(), second.max()) > 1:
        msg = gettext("scores must be in [0, 1]")
        raise ValueError(msg)
    d = first - second
    n = d.size + 2
    middle = float(d.sum()) / n
    variance = max(0.0, (float((d**2).sum()) + 1) / n - middle**2)
    half = Z * math.sqrt(variance / n)
    mean = float(d.mean())
    return mean, min(mean, max(-1.0, middle - half)), max(mean, min(1.0, middle + half))


def chance_agreement(pairs: Mapping[tuple[int, int], int]) -> float | None:
    """Share of samples on which the same answers in random order agree; None where the given order is significantly better.

        μ = Σ_k a_k b_k / n²,   σ² = Σ_kl a_k b_l (1[k = l] − b_k/n − a_l/n + μ)² / (n − 1)

    a_k answers and b_k samples have class k. The order is better where it agrees on more than nμ + zσ samples. The mean is the
    chance agreement of Cohen 1960, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement
    20:37; mean and variance are those of Hoeffding 1951, "A combinatorial central limit theorem", Annals of Mathematical
    Statistics 22:558, theorem 2.

    Args:
        pairs: How often each pair of answer and true class occurs; one pair at least.
    """
    classes = sorted({number for pair in pairs for number in pair})
    table = np.zeros((len(classes), len(classes)))
    for pair, count in pairs.items():
        table[classes.index(pair[0]), classes.index(pair[1])] = count
    answers, true, total = table.sum(axis=1), table.sum(axis=0), table.sum()
    mean = float(answers @ true / total**2)
    centred = np.eye(len(classes)) - true[:, None] / total - answers[None, :] / total + mean
    deviation = float((np.outer(answers, true) * centred**2).sum() / max(total - 1, 1)) ** 0.5
    return None if float(np.trace(table)) > total * mean + Z * deviation + 1e-9 * total else mean


def _check_quantile(q: float) -> None:
    if not 0 < q < 1:
        msg = gettext("q is a fraction between 0 and 1, such as 0.99 for p99; got {q}", q=q)
        raise ValueError(msg)


def percentile_interval(samples: ArrayLike, q: float) -> tuple[float, float] | None:
    """Distribution-free 95 % interval of a quantile, between two order statistics.

        (x_(l), x_(u)),   l the largest with P(B < l) ≤ 2.5 %,  u the smallest with P(B ≥ u) ≤ 2.5 %,  B ~ Binomial(n, q)

    The number of samples below the true quantile is binomial, so the probability to miss it is at most 5 %. Samples must be
    independent; with drift over a session the true interval is wider. Hahn & Meeker 1991, "Statistical Intervals", 5.2.

    Args:
        samples: (n,).
        q: The quantile as a fraction, 0.5 for p50, 0.99 for p99.

    Returns:
        Low and high end in the samples' unit; None when fewer than `runs_needed(q)` samples are given.

    Raises:
        ValueError: q outside (0, 1), or no samples.
    """
    _check_quantile(q)
    ordered = np.sort(as_vector(samples))
    n = ordered.size
    if n < runs_needed(q):
        return None
    cdf = bdtr(np.arange(n + 1), n, q)
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
    return drifting_percentile_intervals(samples, (q,), parts=parts)[q]


def drifting_percentile_intervals(
    samples: ArrayLike, quantiles: Iterable[float], *, parts: int = 5
) -> dict[float, tuple[float, float] | None]:
    """Intervals of several quantiles of one series, none of which contradicts another.

    A quantile is at least as large as every lower one. So each upper end is at least that of the lower quantiles, and each
    lower end at most that of the higher quantiles.

    Args:
        samples: In order of time, (n,).
        quantiles: Fractions.
        parts: As for `drifting_percentile_interval`.

    Returns:
        Intervals by quantile; None for one that fewer than `runs_needed` samples support.

    Raises:
        ValueError: A quantile outside (0, 1), or no samples.
    """
    series = as_vector(samples)
    alone = {q: _interval_of_parts(series, q, parts) for q in quantiles}
    known = {q: interval for q, interval in alone.items() if interval is not None}
    joint = {
        q: (min(low for p, (low, _) in known.items() if p >= q), max(high for p, (_, high) in known.items() if p <= q))
        for q in known
    }
    return {q: joint.get(q) for q in alone}


def _interval_of_parts(series: Vector, q: float, parts: int) -> tuple[float, float] | None:
    independent = percentile_interval(series, q)
    if independent is None:
        return None
    below = (series <= np.quantile(series, q)).astype(np.float64)
    shares = [part.mean() for part in np.array_split(below, parts)]
    h = float(stdtrit(parts - 1, 1 - TAIL)) * float(np.std(shares, ddof=1)) / math.sqrt(parts)
    low, high = np.quantile(series, [max(0.0, q - h), min(1.0, q + h)])
    return min(independent[0], float(low)), max(independent[1], float(high))
