"""Copies in loaders of the user are counted, by their contents or by the indices that name them."""

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset

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


def facts(test):
    loaders = [DataLoader(each, batch_size=8) for each in (tensors(40, 0), tensors(20, 1), test)]
    return [fact for fact in Data.from_loaders(*loaders, classes=["a", "b"]).warnings if fact.code == "data.repeated_samples"]


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
