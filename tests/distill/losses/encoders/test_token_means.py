"""Means without padding against sums in plain Python."""

import torch

from compress.distill.losses.encoders.token_means import head_row_mean, mean_token, pair_mean, token_mean
from tests.distill.losses.feature_checks import close, draw

MASK = torch.tensor([[True, True, True], [True, False, False]])


def test_means_hold_no_padding():
    values, heads = draw(2, 3), draw(2, 2, 3, 3)
    close(token_mean(values, MASK), [values[0].mean(), values[1, 0]])
    close(pair_mean(heads, MASK), [heads[0].mean(), heads[1, :, 0, 0].mean()])
    close(head_row_mean(heads[..., 0], MASK), [heads[0, :, :, 0].mean(), heads[1, :, 0, 0].mean()])
    tokens = draw(2, 3, 4)
    close(mean_token(tokens, MASK)[1], tokens[1, 0])


def test_without_a_mask_all_tokens_count():
    values = draw(2, 3)
    close(token_mean(values, None), values.mean(dim=1))
    close(pair_mean(draw(2, 2, 3, 3), None), draw(2, 2, 3, 3).mean(dim=(1, 2, 3)))
    close(mean_token(draw(2, 3, 4), None), draw(2, 3, 4).mean(dim=1))


def test_a_sample_of_padding_alone_counts_nothing():
    assert token_mean(draw(1, 3), torch.zeros(1, 3, dtype=torch.bool)).tolist() == [0.0]
