"""Trim, elect sign, merge."""

import torch

from compress.merge.methods.ties import Ties, trimmed


def test_the_largest_entries_over_all_tensors_stay():
    change = {"a": torch.tensor([0.1, -5.0, 0.2]), "b": torch.tensor([3.0, -0.3])}
    kept = trimmed(change, 0.4)
    torch.testing.assert_close(kept["a"], torch.tensor([0.0, -5.0, 0.0]))
    torch.testing.assert_close(kept["b"], torch.tensor([3.0, 0.0]))
    torch.testing.assert_close(trimmed(change, 1.0)["a"], change["a"])


def test_entries_against_the_elected_sign_are_left_out_of_the_mean():
    base = {"w": torch.zeros(4)}
    first, second, third = (
        {"w": torch.tensor(row)} for row in ([4.0, 1.0, -2.0, 0.0], [2.0, -3.0, -4.0, 0.0], [-1.0, 1.0, 3.0, 0.0])
    )
    merged = Ties(density=1.0).merge([first, second, third], base, (1 / 3,) * 3, 0)
    # signs of the sums: 5 → +, −1 → −, −3 → −, 0
    torch.testing.assert_close(merged["w"], torch.tensor([3.0, -3.0, -3.0, 0.0]))


def test_one_network_whole_is_that_network():
    generator = torch.Generator().manual_seed(1)
    base, only = ({"w": torch.randn(5, 2, generator=generator)} for _ in range(2))
    torch.testing.assert_close(Ties(density=1.0).merge([only], base, (1.0,), 0)["w"], only["w"])
