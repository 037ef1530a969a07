import pytest
import torch

from compress.data.text.buckets import bucketed_batches

LENGTHS = torch.randint(1, 200, (501,), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [1, 7, 20, 600])
def test_every_sample_comes_once_but_for_a_rest_of_one(size):
    batches = bucketed_batches(LENGTHS, size, seed=3)
    drawn = torch.cat(batches).tolist()
    rest = len(LENGTHS) % size
    assert len(drawn) == len(set(drawn)) == len(LENGTHS) - (rest == 1 and size > 1)
    assert len(batches) == len(LENGTHS) // size + (rest > 1)


def test_orders_depend_on_the_seed_alone():
    first, again, other = (torch.cat(bucketed_batches(LENGTHS, 16, seed)).tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_less_is_padded_than_in_a_random_order():
    def padded(batches):
        return sum(int(LENGTHS[batch].max()) * len(batch) for batch in batches)

    order = torch.randperm(len(LENGTHS), generator=torch.Generator().manual_seed(1))
    real = int(LENGTHS.sum())
    assert padded(bucketed_batches(LENGTHS, 16, 0)) - real < 0.3 * (padded(torch.split(order, 16)) - real)
