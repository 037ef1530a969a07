"""Clips in 16 bits, padded to the longest of a batch."""

from __future__ import annotations

import numpy as np
import torch

from compress.data.audio.clips import Clips, padded_waves
from tests.data.audio.files import tone


def test_clips_come_back_within_half_a_step() -> None:
    waves = [tone(0.1, frequency=200), tone(0.05, frequency=300), np.array([2.0, -2.0], np.float32)]
    clips = Clips.of(waves)
    assert clips.lengths.tolist() == [800, 400, 2]
    for wave, found in zip(waves, clips.waves(torch.arange(3)), strict=True):
        np.testing.assert_allclose(found.numpy(), np.clip(wave, -1, 1), atol=0.51 / 32_767)
    chosen = clips.select(np.array([2, 0]))
    assert torch.equal(chosen.row(1), clips.row(0))


def test_the_mask_is_one_for_samples_of_the_clip() -> None:
    inputs = padded_waves([torch.ones(3), torch.ones(5)])
    assert inputs["audio"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
