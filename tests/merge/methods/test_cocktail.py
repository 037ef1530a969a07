"""Shares from losses."""

import math

import pytest

from compress.merge.methods.cocktail import Cocktail


def test_shares_are_the_softmax_of_the_negative_losses():
    shares = Cocktail(temperature=2.0).shares([1.0, 3.0])
    assert shares[0] / shares[1] == pytest.approx(math.exp((3.0 - 1.0) / 2.0))
    assert sum(shares) == pytest.approx(1.0)


def test_a_small_temperature_takes_the_best_network_and_large_losses_do_not_overflow():
    assert Cocktail(temperature=1e-3).shares([5000.0, 5001.0, 5002.0]) == pytest.approx((1.0, 0.0, 0.0))
