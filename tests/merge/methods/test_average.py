"""The weighted mean of weights."""

import torch

from compress.merge.methods.average import Average


def test_the_mean_has_the_given_shares():
    first, second = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([5.0, -2.0])}
    merged = Average().merge([first, second], None, (0.75, 0.25), 0)
    torch.testing.assert_close(merged["w"], torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(first["w"], torch.tensor([1.0, 2.0]))


def test_a_network_merged_with_itself_is_unchanged():
    weights = {"w": torch.randn(3, 4), "b": torch.randn(3)}
    merged = Average().merge([weights] * 3, None, (0.2, 0.3, 0.5), 0)
    for name, tensor in weights.items():
        torch.testing.assert_close(merged[name], tensor)
