"""Checksums and hashes are those of the contents."""

import numpy as np
import pytest
import torch

from compress.data.array_contents import checksums, content_hash


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32, torch.int64, torch.bool])
def test_equal_samples_have_equal_checksums_and_others_do_not(dtype):
    values = (torch.randint(0, 2, (3000, 24), generator=torch.Generator().manual_seed(0))).to(dtype)
    values[2999] = values[5]
    first = checksums([values, values.flip(1)])
    assert first.shape == (3000,)
    assert first[2999] == first[5]
    assert len(np.unique(first)) == len(torch.unique(values, dim=0))


def test_the_order_of_values_and_of_arrays_counts():
    values = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    assert len(set(checksums([values]).tolist())) == 2
    assert not np.array_equal(checksums([values, values.flip(0)]), checksums([values.flip(0), values]))


def test_hashes_are_those_of_all_tensors():
    one = {"a": torch.arange(4), "b": torch.ones(2)}
    assert content_hash(one) == content_hash({name: values.clone() for name, values in one.items()})
    assert content_hash(one) != content_hash({**one, "b": torch.zeros(2)})
