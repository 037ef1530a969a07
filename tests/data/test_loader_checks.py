"""Copies in loaders of the user are counted, and samples that differ when they are read again."""

import random

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset

from compress.core.sentences import render
from compress.data.interface import Data


def tensors(count, seed):
    images = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(images, torch.arange(count) % 2)


class Drawn(Dataset):
    """Samples that no attribute holds; equal for equal indices modulo `distinct`."""

    def __init__(self, count, distinct):
        self.count, self.distinct = count, distinct

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.full((1, 4, 4), (index % self.distinct) / self.distinct), index % 2


class Noisy(Drawn):
    """Adds noise from a function."""

    def __init__(self, noise):
        super().__init__(40, 40)
        self.noise = noise

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image + 0.01 * self.noise(), label


def facts(test, code="data.repeated_samples"):
    loaders = [DataLoader(each, batch_size=8) for each in (tensors(40, 0), tensors(20, 1), test)]
    return [fact for fact in Data.from_loaders(*loaders, classes=["a", "b"]).warnings if fact.code == code]


@pytest.mark.parametrize(
    ("test", "count", "samples"),
    [
        (ConcatDataset([tensors(10, 2)] * 50), 490, 500),
        (ConcatDataset([tensors(10, 2), tensors(10, 2)]), 10, 20),
        (Subset(Drawn(50, 50), [*range(20), *range(10)]), 10, 30),
        (Drawn(500, 10), 22, 32),
    ],
)
def test_copies_are_counted(test, count, samples):
    (fact,) = facts(test)
    assert (fact.values["split"], fact.values["count"], fact.values["samples"]) == ("test", count, samples)


@pytest.mark.parametrize("test", [tensors(30, 3), Drawn(500, 500), ConcatDataset([tensors(10, 2), tensors(10, 3)])])
def test_different_samples_are_no_copies(test):
    assert facts(test) == []


def test_a_generator_of_the_datasets_own_gives_other_samples_when_read_again():
    (fact,) = facts(Noisy(random.Random(0).random), "data.samples_differ")
    assert (fact.values["split"], fact.values["count"], fact.values["samples"]) == ("test", 32, 32)
    assert render(fact).startswith("32 of 32 samples of the test loader differ when they are read again")


@pytest.mark.parametrize("noise", [lambda: 0.0, lambda: torch.rand(1)])
def test_still_samples_and_those_of_the_seeded_generator_are_the_same_when_read_again(noise):
    assert facts(Noisy(noise), "data.samples_differ") == []
