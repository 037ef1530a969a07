"""Estimators of activation ranges: from the histogram of a tensor to the range that its integers cover.

All estimators have the same signature, because the registry selects one by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

BINS = 2048
"""Number of bins of |x|, as in Migacz 2017."""
MOMENTUM = 0.9
"""Momentum of the moving average over batches."""
FLOATS = 2**12
"""Number of bins of |x| by exponent and first four bits of the mantissa: 16 per octave over all of float32."""
ENTROPY_BINS, MAX_ENTROPY_BINS = 128, 1024
"""Bins of `entropy` over the range of the first batch, as in ONNX Runtime, and their limit if later batches are wider."""
OCTAVES = 8
"""Octaves below the largest magnitude in which `sample_normalized_mse` tries thresholds, eight per octave."""


@dataclass
class ActivationHistogram:
    """Extremes and histogram of the values of one tensor over all batches.

    Attributes:
        low: Smallest value.
        high: Largest value.
        first_largest: Largest magnitude in the first batch.
        average: Moving averages of the smallest and largest value of each batch; None before the first batch.
        counts: Number of values by bin over [−a, a], a = max(|low|, |high|), (2 · BINS,); valid for the final `low` and `high`.
        normalized_counts: Values by magnitude, (FLOATS,), each weighted by 1 ÷ sum of squares of its sample; without zeros,
            which are always exact. None without `update_normalized_histogram`.
        exceptional: Number of values that are not finite.
    """

    low: float = np.inf
    high: float = -np.inf
    first_largest: float = 0.0
    average: tuple[float, float] | None = None
    counts: np.ndarray = field(default_factory=lambda: np.zeros(2 * BINS))
    normalized_counts: np.ndarray | None = None
    exceptional: int = 0

    @property
    def largest(self) -> float:
        """Largest magnitude, a = max |x|."""
        return max(abs(self.low), abs(self.high))

    def update_minmax(self, x: np.ndarray) -> None:
        """First pass: update the extremes with a batch."""
        low, high = float(x.min()), float(x.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            self.exceptional += int((~np.isfinite(x)).sum())
            return
        if self.average is None:
            self.first_largest = max(abs(low), abs(high))
        self.low, self.high = min(self.low, low), max(self.high, high)
        before = self.average or (low, high)
        self.average = (MOMENTUM * before[0] + (1 - MOMENTUM) * low, MOMENTUM * before[1] + (1 - MOMENTUM) * high)

    def update_histogram(self, x: np.ndarray) -> None:
        """Second pass over the same batches: update the histogram."""
        width = self.largest / BINS or 1.0
        bins = np.clip(x.ravel() / np.float32(width) + BINS, 0, 2 * BINS - 1).astype(np.int32)
        self.counts += np.bincount(bins, minlength=2 * BINS)

    def update_normalized_histogram(self, x: np.ndarray, samples: int) -> None:
        """First pass for `sample_normalized_mse`: update the histogram weighted by the inverse energy of each sample.

        Args:
            x: (samples, …), or any other shape, whose values count as one sample.
            samples: Number of samples in the batch.
        """
        rows = x.reshape(samples if x.shape[:1] == (samples,) else 1, -1).astype(np.float32, copy=False)
        squares = np.square(rows, dtype=np.float64).sum(1)
        bins = (np.ascontiguousarray(rows).view(np.int32) >> 19) & (FLOATS - 1)
        counts = self.normalized_counts if self.normalized_counts is not None else np.zeros(FLOATS)
        for row, square in zip(bins, squares, strict=True):
            if square > 0:
                counts = counts + np.bincount(row, minlength=FLOATS) / square
        counts[0] = 0.0
        self.normalized_counts = counts

    def magnitudes(self) -> np.ndarray:
        """Counts of |x| over [0, a], (BINS,)."""
        folded: np.ndarray = self.counts[BINS:] + self.counts[:BINS][::-1]
        return folded


def minmax(histogram: ActivationHistogram, *, levels: int, percentile: float) -> tuple[float, float]:  # noqa: ARG001
    """Range of all values: [min x, max x].

    Jacob et al. 2018, arXiv:1712.05877, section 3. Needs no histogram.
    """
    return histogram.low, histogram.high


def moving_average(histogram: ActivationHistogram, *, levels: int, percentile: float) -> tuple[float, float]:  # noqa: ARG001
    """Moving averages of the extremes: a_t = 0.9 a_(t−1) + 0.1 x_t, a_0 = x_0, x_t the smallest or largest value of batch t.

    Jacob et al. 2018, arXiv:1712.05877, section 3.1. Needs no histogram. Outliers of a single batch saturate.

    Args:
        histogram: Extremes of at least one batch.
        levels: Not used.
        percentile: Not used.
    """
    return histogram.average or (histogram.low, histogram.high)


def mse(histogram: ActivationHistogram, *, levels: int, percentile: float) -> tuple[float, float]:  # noqa: ARG001
    """Range with the least squared error of rounding and saturation together.

        T = argmin_t Σ_x n(x) (x − x̂)²,   x̂ = s · min(round(x / s), levels − 1),   s = t / (levels − 1)
        range = [max(min x, −T), min(max x, T)]

    t has 128 values up to the largest magnitude; x are the centers of the histogram's bins, n(x) their counts. Nagel et al.
    2021, A White Paper on Neural Network Quantization, arXiv:2106.08295, eq. 24.

    Args:
        histogram: Histogram with `counts`.
        levels: Number of levels for magnitudes: 128 for signed, 256 for unsigned values.
        percentile: Not used.
    """
    magnitudes = histogram.magnitudes()
    width = histogram.largest / BINS
    if width == 0:
        return histogram.low, histogram.high
    x = (np.arange(BINS) + 0.5) * width
    edges = np.arange(BINS // 128, BINS + 1, BINS // 128)
    s = (edges * width / (levels - 1))[:, None]
    error = (magnitudes * (x - s * np.minimum(np.rint(x / s), levels - 1)) ** 2).sum(1)
    return _symmetric_cut(histogram, int(edges[error.argmin()]))


def sample_normalized_mse(histogram: ActivationHistogram, *, levels: int, percentile: float) -> tuple[float, float]:  # noqa: ARG001
    """Range with the least squared error, relative to the energy of each sample.

        T = argmin_t Σ_n Σ_i (x_ni − x̂_ni)² / Σ_i x_ni²,   range = [max(min x, −T), min(max x, T)]
        (x − x̂)² ≈ x² for |x| < s / 2,   s² / 12 up to t,   (|x| − t)² beyond;   s = t / (levels − 1)

    n is the index of the sample, i that of the value in the sample. Without the division (`mse`) a few samples with large
    values dominate, and few levels remain for all other samples: in a MobileNetV3-Large one image in a hundred had values 20
    times as large as the rest; 96.4 % of the predictions stayed the same with `mse` and 98.9 % with this method.

    Args:
        histogram: Histogram with `normalized_counts`.
        levels: Number of levels for magnitudes: 128 for signed, 256 for unsigned values.
        percentile: Not used.
    """
    counts = np.zeros(FLOATS) if histogram.normalized_counts is None else histogram.normalized_counts
    if not counts.any():
        return histogram.low, histogram.high
    used = np.flatnonzero(counts)
    edges = np.stack([used, used + 1]).astype(np.int32) << 19
    x, counts = edges.view(np.float32).astype(np.float64).mean(0), counts[used]
    t = histogram.largest * 2.0 ** (-np.arange(8 * OCTAVES) / 8)[:, None]
    s = t / (levels - 1)
    error = np.where(x < s / 2, x**2, np.where(x <= t, s**2 / 12, (x - t) ** 2))
    limit = float(t[(counts * error).sum(1).argmin(), 0])
    return max(histogram.low, -limit), min(histogram.high, limit)


def percentile(histogram: ActivationHistogram, *, levels: int, percentile: float) -> tuple[float, float]:  # noqa: ARG001
    """Range of the `percentile` % smallest magnitudes; larger values saturate.

        T = min{ t : #{|x| ≤ t} ≥ (percentile / 100) · #x },   range = [max(min x, −T), min(max x, T)]

    Wu et al. 2020, arXiv:2004.09602, section 3.1.

    Args:
        histogram: Histogram with `counts`.
        levels: Not used.
        percentile: In (50, 100].
    """
    magnitudes = histogram.magnitudes()
    share = np.cumsum(magnitudes) / magnitudes.sum()
    edge = int(np.searchsorted(share, percentile / 100.0 - 1e-12)) + 1
    return _symmetric_cut(histogram, edge)


def entropy(histogram: ActivationHistogram, *, levels: int, percentile: float) -> tuple[float, float]:  # noqa: ARG001
    """Range with the least Kullback-Leibler divergence, as ONNX Runtime computes it.

        T = argmin_i KL(P_i ‖ Q_i),   range = [max(min x, −T), min(max x, T)]

    P_i is the histogram of x over the bins [−i, i], with the counts of larger values added to the first and last bin. Q_i is
    the histogram without larger values, merged into `ENTROPY_BINS` parts; the count of each part is distributed over its
    non-empty bins. Migacz 2017, "8-bit inference with TensorRT", GTC S7310. The range of the first batch has `ENTROPY_BINS`
    bins, so T is hardly smaller.

    Finer bins give far too small ranges: a value that many samples share, such as a constant background or the limit of a
    ReLU6, fills one bin of a part. KL counts its distribution over the other bins as loss, although rounding moves it by at
    most half a level. With 2048 bins, a ReLU6 had the range [0, 3.1].

    Args:
        histogram: Histogram with `counts`.
        levels: Not used.
        percentile: Not used.
    """
    from onnxruntime.quantization.calibrate import HistogramCollector

    largest = histogram.largest
    if largest == 0:
        return histogram.low, histogram.high
    width = max(2 * histogram.first_largest / ENTROPY_BINS, 2 * largest / MAX_ENTROPY_BINS)
    half = max(ENTROPY_BINS // 2, math.ceil(largest / width))
    centers = (np.arange(2 * BINS) - BINS + 0.5) * (largest / BINS)
    bins = np.clip(np.floor(centers / width).astype(np.int64) + half, 0, 2 * half - 1)
    counts = np.bincount(bins, histogram.counts, 2 * half).astype(np.int64)
    edges = (np.arange(-half, half + 1) * width).astype(np.float32)
    collector = HistogramCollector("entropy", False, ENTROPY_BINS, ENTROPY_BINS, 100.0, "same")
    extremes = np.float32(histogram.low), np.float32(histogram.high)
    low, high = collector.get_entropy_threshold((counts, edges, *extremes), ENTROPY_BINS)
    return float(low), float(high)


def _symmetric_cut(histogram: ActivationHistogram, edge: int) -> tuple[float, float]:
    limit = histogram.largest * edge / BINS
    return max(histogram.low, -limit), min(histogram.high, limit)
