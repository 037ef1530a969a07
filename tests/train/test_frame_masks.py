"""Masks of samples at the rate of frames."""

import torch

from compress.train.frame_masks import mask_of_frames


def test_frames_are_those_whose_last_sample_is_of_the_clip() -> None:
    mask = torch.arange(12) < torch.tensor([[12], [6], [5], [1]])
    assert mask_of_frames(mask, 4).sum(1).tolist() == [4, 2, 1, 0]
    assert mask_of_frames(mask, 12).equal(mask)


def test_it_is_within_one_frame_where_samples_are_left_over() -> None:
    for samples in (3200, 3519, 4001):
        frames = samples // 320
        mask = (torch.arange(samples) < 1600)[None]
        assert abs(int(mask_of_frames(mask, frames).sum()) - 5) <= 1
