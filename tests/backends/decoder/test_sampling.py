"""Sampling: the likeliest token, frequencies of a softmax, the nucleus, and seeds."""

import numpy as np
import pytest

from compress.backends.decoder.sampling import Sampler

LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))


def frequencies(sampler, count=4000):
    return np.bincount([sampler.choose(LOGITS) for _ in range(count)], minlength=4) / count


def test_temperature_0_takes_the_likeliest():
    assert {Sampler().choose(LOGITS[::-1]) for _ in range(5)} == {3}


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_frequencies_are_those_of_the_softmax(temperature):
    p = np.exp(LOGITS / temperature)
    assert np.abs(frequencies(Sampler(temperature)) - p / p.sum()).max() < 0.03


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, 1), (0.5, 1), (0.51, 2), (0.8, 2), (0.9, 3), (1.0, 4)])
def test_the_nucleus_has_the_fewest_tokens(top_p, kept):
    found = frequencies(Sampler(1.0, top_p))
    assert np.flatnonzero(found).tolist() == list(range(kept))


def test_a_seed_repeats():
    first, again, other = ([Sampler(1.0, seed=seed).choose(LOGITS) for _ in range(1)] for seed in (3, 3, 4))
    assert first == again
    draws = [[sampler.choose(LOGITS) for _ in range(20)] for sampler in (Sampler(1.0, seed=3), Sampler(1.0, seed=4))]
    assert draws[0] != draws[1]
    assert len(other) == 1
