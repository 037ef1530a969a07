"""Compact rows: their size, what comes back exactly, and how far the rest is off."""

import numpy as np
import pytest

from compress.train.teachers.compact_rows import bits_of, decode_compact, encode_compact, log_mean_of, normalised, row_bytes


def log_probabilities(rows, classes, seed=0):
    """Like those of a language model: falling with the rank, with noise, each row at its own speed."""
    rng = np.random.default_rng(seed)
    z = -np.log(np.arange(1, classes + 1)) * rng.uniform(1.0, 2.5, (rows, 1)) + 0.1 * rng.standard_normal((rows, classes))
    z = rng.permuted(z, axis=1)
    return z - np.logaddexp.reduce(z, axis=1, keepdims=True)


def equal(classes):
    """log π of classes that are equally frequent."""
    return np.full(classes, -np.log(classes))


@pytest.mark.parametrize(("k", "classes", "size"), [(50, 30_522, 110), (50, 65_536, 116), (50, 8_000, 98), (38, 250_002, 102)])
def test_a_token_costs_at_most_120_bytes(k, classes, size):
    assert row_bytes(k, classes) == size <= 120
    rows = encode_compact(log_probabilities(2, classes), k)
    assert rows.shape == (2, size)


def test_bits_hold_every_class():
    assert [bits_of(classes) for classes in (2, 3, 4, 5, 65_536, 65_537)] == [1, 2, 2, 3, 16, 17]


def test_the_most_probable_classes_come_back_in_their_order():
    log_p = log_probabilities(6, 3_000)
    found = decode_compact(encode_compact(log_p, 20), 20, equal(3_000))
    for row, back in zip(log_p, found, strict=True):
        best = np.argsort(-row)[:20]
        assert set(np.argsort(-back)[:20]) == set(best)
        assert back[best[0]] == pytest.approx(row[best[0]], rel=1e-3)
        others = np.setdiff1d(np.arange(3_000), best)
        assert np.exp(back[others]).sum() == pytest.approx(np.exp(row[others]).sum(), rel=5e-3)
        np.testing.assert_allclose(back[others], back[others][0])
    np.testing.assert_allclose(np.exp(found.astype(float)).sum(1), 1.0, rtol=1e-3)


def test_a_curve_loses_little_against_the_values():
    """KL over the kept classes and the rest as one: below a thousandth of the entropy."""
    log_p = log_probabilities(50, 3_000)
    found = decode_compact(encode_compact(log_p, 50), 50, equal(3_000)).astype(float)
    top = np.argsort(-log_p, axis=1)[:, :50]
    p, q = (np.exp(np.take_along_axis(values, top, axis=1)) for values in (log_p, found))
    p, q = (np.concatenate([values, 1 - values.sum(1, keepdims=True)], axis=1) for values in (p, q))
    entropy = -(np.exp(log_p) * log_p).sum(1).mean()
    assert (p * np.log(p / q)).sum(1).mean() < 1e-3 * entropy


def test_certain_rows_stay_finite():
    log_p = np.full((1, 500), -900.0)
    log_p[0, 7] = 0.0
    found = decode_compact(encode_compact(log_p, 10), 10, equal(500))
    assert np.isfinite(found).all()
    assert found[0].argmax() == 7
    assert np.exp(found[0, 7]) == pytest.approx(1.0)


def test_the_rest_has_the_shares_of_the_mean_over_all_rows():
    rng = np.random.default_rng(0)
    popular = -1.2 * np.log(np.arange(1, 2_001))
    z = popular + rng.standard_normal((200, 2_000))
    log_p = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    mean = normalised(log_mean_of(np.exp(log_p).sum(0)))
    assert np.exp(mean).sum() == pytest.approx(1.0)
    rows = encode_compact(log_p, 30)

    def divergence(log_mean):
        return (np.exp(log_p) * (log_p - decode_compact(rows, 30, log_mean))).sum(1).mean()

    found = decode_compact(rows[:1], 30, mean)[0].astype(float)
    others = np.setdiff1d(np.arange(2_000), np.argsort(-log_p[0])[:30])
    shares = np.exp(found[others]) / np.exp(found[others]).sum()
    np.testing.assert_allclose(shares, np.exp(mean[others]) / np.exp(mean[others]).sum(), rtol=1e-4)
    assert divergence(mean) < 0.5 * divergence(equal(2_000))
