import pytest
import torch

from compress.train.federated.compress_update import compress_update, round_at_random, sent_bytes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_without_compression_all_is_sent():
    update = torch.randn(100, generator=generator())
    sent, error, count = compress_update(update, torch.zeros(100), keep=1.0, bits=32, generator=generator())
    assert torch.equal(sent, update)
    assert not error.any()
    assert count == 400


def test_the_largest_entries_are_sent_and_the_rest_is_kept():
    update = torch.tensor([0.1, -5.0, 0.2, 3.0])
    sent, error, _ = compress_update(update, torch.zeros(4), keep=0.5, bits=32, generator=generator())
    assert sent.tolist() == [0, -5, 0, 3]
    assert torch.equal(sent + error, update)


@pytest.mark.parametrize(("keep", "bits"), [(0.1, 32), (0.1, 8), (1.0, 4)])
def test_with_feedback_nothing_is_lost_over_time(keep, bits):
    """The sum of what was sent follows the sum of the updates with a bounded distance, which is the error of the last round."""
    error, total, sum_of_updates = torch.zeros(200), torch.zeros(200), torch.zeros(200)
    for number in range(50):
        update = torch.randn(200, generator=generator(number)) + 1.0
        sent, error, _ = compress_update(update, error, keep=keep, bits=bits, generator=generator(number))
        total, sum_of_updates = total + sent, sum_of_updates + update
        assert torch.allclose(total + error, sum_of_updates, atol=1e-4)
    assert (total - sum_of_updates).abs().mean() < 0.5 * sum_of_updates.abs().mean()


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_rounding_is_on_the_grid_and_without_bias(bits):
    values = torch.randn(50, generator=generator())
    scale = values.abs().max() / (2 ** (bits - 1) - 1)
    rounded = [round_at_random(values, bits, generator(seed)) for seed in range(400)]
    whole = rounded[0] / scale
    assert torch.allclose(whole, whole.round(), atol=1e-3)
    assert whole.abs().max() <= 2 ** (bits - 1)
    assert torch.allclose(torch.stack(rounded).mean(0), values, atol=float(scale) * 0.15 + 1e-6)


def test_zeros_and_float_values_stay():
    assert not round_at_random(torch.zeros(5), 8, generator()).any()
    values = torch.randn(5)
    assert torch.equal(round_at_random(values, 32, generator()), values)


def test_bytes_are_those_of_the_cheaper_list_of_places():
    assert sent_bytes(1000, 1000, 32) == 4000
    assert sent_bytes(1000, 1000, 8) == 1004
    assert sent_bytes(1000, 10, 32) == 40 + 40
    assert sent_bytes(1000, 100, 8) == 100 + 4 + 125
    assert sent_bytes(1000, 3, 4) == 2 + 4 + 12
