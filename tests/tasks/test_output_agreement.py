from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from compress.core.errors import ConversionError
from compress.tasks.output_agreement import compare_outputs


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    a = draw.normal(size=(50, 7)).astype(np.float32)
    return a, a + draw.normal(scale=0.3, size=a.shape).astype(np.float32)


def test_figures_are_those_of_plain_numpy_and_sklearn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    found = compare_outputs(a, b)
    assert found.max_abs == pytest.approx(max(abs(float(x) - float(y)) for x, y in zip(a.ravel(), b.ravel(), strict=True)))
    assert found.mean_abs == pytest.approx(np.mean(np.abs(a.astype(float) - b)))
    assert found.cosine == pytest.approx(np.diag(cosine_similarity(a.astype(float), b.astype(float))).min())
    assert found.top1 == np.mean([x.argmax() == y.argmax() for x, y in zip(a, b, strict=True)]) < 1
    assert found.samples == 50


def test_equal_outputs_agree_fully(pair: tuple[np.ndarray, np.ndarray]) -> None:
    found = compare_outputs(pair[0], pair[0])
    assert (found.max_abs, found.mean_abs, found.top1) == (0.0, 0.0, 1.0)
    assert found.cosine == pytest.approx(1.0)


def test_zero_rows_agree_with_zero_rows_only() -> None:
    zero, one = np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    assert compare_outputs(zero, zero).cosine == 1.0
    assert compare_outputs(zero, one).cosine == 0.0


@pytest.mark.parametrize("shape", [(50, 6), (49, 7), (0, 7)])
def test_shapes_must_match(pair: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]) -> None:
    with pytest.raises(ConversionError, match="cannot be compared"):
        compare_outputs(pair[0], np.zeros(shape, np.float32))


def test_values_that_are_not_finite_are_told(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    b[3, 2] = np.nan
    with pytest.raises(ConversionError, match="exported network gives values that are not finite for 1 of 50"):
        compare_outputs(a, b)
