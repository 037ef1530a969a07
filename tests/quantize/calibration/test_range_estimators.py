from __future__ import annotations

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCollector

from compress.core.registry import lookup, names
from compress.quantize.calibration.range_estimators import (
    BINS,
    ENTROPY_BINS,
    ActivationHistogram,
    entropy,
    minmax,
    moving_average,
    mse,
    percentile,
    sample_normalized_mse,
)


def seen(*batches: np.ndarray) -> ActivationHistogram:
    histogram = ActivationHistogram()
    for batch in batches:
        histogram.update_minmax(batch)
        histogram.update_normalized_histogram(batch, len(batch))
    for batch in batches:
        histogram.update_histogram(batch)
    return histogram


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(0.3, 1.0, 20_000).astype(np.float32)


def test_table_names_every_method() -> None:
    assert [lookup("range", name).load() for name in names("range")] == [
        minmax,
        moving_average,
        mse,
        sample_normalized_mse,
        entropy,
        percentile,
    ]


def test_minmax_is_what_numpy_says(values: np.ndarray) -> None:
    parts = np.split(values, 4)
    assert minmax(seen(*parts), levels=128, percentile=0.0) == (values.min(), values.max())


@pytest.mark.parametrize("share", [90.0, 99.0, 99.9, 100.0])
def test_percentile_is_numpys_within_a_bin(values: np.ndarray, share: float) -> None:
    low, high = percentile(seen(*np.split(values, 4)), levels=128, percentile=share)
    expected = np.percentile(np.abs(values), share)
    width = float(np.abs(values).max()) / BINS
    assert high == pytest.approx(min(expected, values.max()), abs=1.5 * width)
    assert low == pytest.approx(max(-expected, values.min()), abs=1.5 * width)


def test_counts_are_all_values_whatever_the_batches(values: np.ndarray) -> None:
    variant, many = seen(values), seen(*np.split(values, 5))
    assert variant.counts.sum() == values.size
    np.testing.assert_array_equal(variant.counts, many.counts)
    expected, _ = np.histogram(np.abs(values), bins=BINS, range=(0, variant.largest))
    assert np.abs(variant.magnitudes() - expected).sum() <= 0.01 * values.size


def of_onnxruntime(*batches: np.ndarray) -> tuple[float, float]:
    collector = HistogramCollector("entropy", False, ENTROPY_BINS, ENTROPY_BINS, 100.0, "same")
    for batch in batches:
        collector.collect_value({"x": batch})
    low, high = collector.get_entropy_threshold(collector.histogram_dict["x"], ENTROPY_BINS)
    return float(low), float(high)


DISTRIBUTIONS = {
    "normal": lambda random: random.normal(0.3, 1.0, 4000),
    "ReLU of heavy tails": lambda random: np.maximum(random.standard_t(4, 4000), 0.0),
    "ReLU6 of a constant background": lambda random: np.clip(
        np.append(random.normal(1.0, 2.0, 2000), np.full(2000, random.choice([0.7, 2.9]))), 0, 6
    ),
    "negative": lambda random: -random.exponential(1.0, 4000),
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_entropy_is_that_of_onnxruntime_within_a_bin(distribution: str) -> None:
    random = np.random.default_rng(0)
    batches = [DISTRIBUTIONS[distribution](random).astype(np.float32) for _ in range(8)]
    width = 2 * float(np.abs(batches[0]).max()) / ENTROPY_BINS
    assert entropy(seen(*batches), levels=256, percentile=0.0) == pytest.approx(of_onnxruntime(*batches), abs=1.01 * width)


def test_entropy_cuts_an_outlier_of_a_later_batch(values: np.ndarray) -> None:
    low, high = entropy(seen(values, np.append(values, np.float32(100.0))), levels=128, percentile=0.0)
    assert high < 20
    assert low == pytest.approx(values.min(), rel=1e-6)


def test_entropy_after_a_first_batch_that_is_nearly_dead_has_bounded_bins(values: np.ndarray) -> None:
    """ONNX Runtime's bins would be as narrow as those of the first batch: 10¹² of them."""
    low, high = entropy(seen(1e-12 * values, values), levels=128, percentile=0.0)
    assert -10 < low < -1.5
    assert 1.5 < high < 10


@pytest.mark.parametrize("method", [minmax, moving_average, mse, sample_normalized_mse, entropy, percentile])
@pytest.mark.parametrize("constant", [0.0, 2.5, -1.0])
def test_constant_tensor_has_a_range_that_holds_it(method, constant: float) -> None:
    low, high = method(seen(np.full(100, constant, np.float32)), levels=128, percentile=99.9)
    assert low <= constant <= high or abs(constant - high) < 0.01 or abs(constant - low) < 0.01


def test_values_that_are_not_finite_are_counted_not_taken() -> None:
    histogram = ActivationHistogram()
    histogram.update_minmax(np.array([1.0, np.nan, np.inf], np.float32))
    histogram.update_minmax(np.array([-1.0, 2.0], np.float32))
    assert histogram.exceptional == 2
    assert (histogram.low, histogram.high) == (-1.0, 2.0)


def test_moving_average_forgets_as_its_formula_says() -> None:
    lows, highs = [-1.0, -3.0, -2.0], [1.0, 11.0, 1.0]
    batches = [np.array([low, high], np.float32) for low, high in zip(lows, highs, strict=True)]
    weights = np.array([0.81, 0.09, 0.1])
    result = moving_average(seen(*batches), levels=128, percentile=0.0)
    assert result == pytest.approx((float(weights @ lows), float(weights @ highs)))


@pytest.mark.parametrize("levels", [8, 128])
def test_mse_is_no_worse_than_any_other_cut(values: np.ndarray, levels: int) -> None:
    def error(limit: float) -> float:
        s = limit / (levels - 1)
        x = np.abs(values.astype(np.float64))
        return float(((x - s * np.minimum(np.rint(x / s), levels - 1)) ** 2).mean())

    low, high = mse(seen(values), levels=levels, percentile=0.0)
    result = error(max(abs(low), high))
    largest = float(np.abs(values).max())
    assert result <= 1.02 * min(error(largest * part) for part in np.linspace(0.2, 1.0, 33))
    assert levels == 128 or result < 0.5 * error(largest)  # few levels: saturating the tails pays


def relative_error(samples: np.ndarray, limit: float, levels: int) -> float:
    """Mean over samples of squared error ÷ squares, by rounding."""
    s = limit / (levels - 1)
    x = np.abs(samples.astype(np.float64))
    return float((((x - s * np.minimum(np.rint(x / s), levels - 1)) ** 2).sum(1) / (x**2).sum(1)).mean())


@pytest.mark.parametrize("levels", [8, 128])
def test_relative_is_no_worse_than_any_other_cut_for_the_mean_sample(levels: int) -> None:
    random = np.random.default_rng(1)
    samples = (random.normal(0.2, 1.0, (200, 100)) * np.exp(random.normal(0, 1.0, (200, 1)))).astype(np.float32)
    low, high = sample_normalized_mse(seen(*np.split(samples, 4)), levels=levels, percentile=0.0)
    limit, largest = max(abs(low), high), float(np.abs(samples).max())
    least = min(relative_error(samples, largest * part, levels) for part in 2.0 ** -np.arange(0, 8, 0.05))
    assert relative_error(samples, limit, levels) <= 1.05 * least


def test_one_loud_sample_takes_the_levels_of_all_others_by_mse_and_not_by_relative() -> None:
    random = np.random.default_rng(2)
    samples = random.normal(0.0, 1.0, (100, 50)).astype(np.float32)
    samples[7] *= 200.0
    quiet = np.delete(samples, 7, axis=0)
    by_mse, by_relative = (method(seen(samples), levels=128, percentile=0.0)[1] for method in (mse, sample_normalized_mse))
    assert by_mse > 100
    assert by_relative < 10
    assert relative_error(quiet, by_relative, 128) < 1e-3 < 0.1 < relative_error(quiet, by_mse, 128)


def test_samples_are_told_apart_only_along_an_axis_that_counts_them() -> None:
    random = np.random.default_rng(3)
    batch = random.normal(size=(6, 40)).astype(np.float32)
    batch[0] *= 50
    apart, together = ActivationHistogram(), ActivationHistogram()
    apart.update_normalized_histogram(batch, 6)
    together.update_normalized_histogram(batch, 3)
    assert apart.normalized_counts is not None
    assert together.normalized_counts is not None
    assert apart.normalized_counts.sum() == pytest.approx(sum(40 / (row.astype(np.float64) ** 2).sum() for row in batch))
    assert together.normalized_counts.sum() == pytest.approx(240 / (batch.astype(np.float64) ** 2).sum())


def test_zeros_are_exact_and_do_not_count() -> None:
    histogram = ActivationHistogram()
    histogram.update_normalized_histogram(np.array([[0.0, -0.0, 3.0], [0.0, 0.0, 0.0]], np.float32), 2)
    assert histogram.normalized_counts is not None
    assert histogram.normalized_counts.sum() == pytest.approx(1 / 9)
