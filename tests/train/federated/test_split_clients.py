import numpy as np
import pytest

from compress.train.federated.split_clients import split_dirichlet, split_iid

CLASSES = np.arange(600) % 10


def entropy(parts):
    """Mean entropy of the classes of a part, bits."""
    shares = [np.bincount(CLASSES[part], minlength=10) / len(part) for part in parts]
    return float(np.mean([-(p[p > 0] * np.log2(p[p > 0])).sum() for p in shares]))


@pytest.mark.parametrize(
    "parts", [split_iid(600, 7, 0), split_dirichlet(CLASSES, 7, 0.3, 0), split_dirichlet(CLASSES, 7, 100, 0)]
)
def test_every_sample_has_one_client(parts):
    assert len(parts) == 7
    assert sorted(np.concatenate(parts).tolist()) == list(range(600))
    assert min(map(len, parts)) >= 2


def test_a_small_concentration_gives_clients_few_classes():
    assert entropy(split_dirichlet(CLASSES, 10, 0.1, 0)) < 1.8 < 3.0 < entropy(split_dirichlet(CLASSES, 10, 100, 0))


def test_parts_follow_from_the_seed():
    for split in (lambda seed: split_iid(600, 7, seed), lambda seed: split_dirichlet(CLASSES, 7, 0.3, seed)):
        assert all(map(np.array_equal, split(1), split(1)))
        assert not all(map(np.array_equal, split(1), split(2)))
