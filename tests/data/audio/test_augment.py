"""Changed clips: seeded, of the asked speed, ratio and masks, and the same for every reader of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.data.audio.augment import add_noise, augment, change_speed, mask_frequencies, mask_times
from compress.data.audio.clips import Clips
from compress.data.audio.settings import AudioAugmentation
from compress.data.audio.split import AudioSplit, ClipChanges
from tests.data.audio.files import tone

RATE = 8000


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_a_faster_clip_is_shorter_and_higher(factor: float) -> None:
    found = change_speed(tone(1.0, RATE, 500.0), factor)
    assert abs(len(found) - RATE / factor) <= 1
    peak = np.abs(np.fft.rfft(found)).argmax() * RATE / len(found)
    assert peak == pytest.approx(500 * factor, abs=3)


def test_noise_has_the_asked_ratio() -> None:
    wave = tone(2.0, RATE)
    noise = add_noise(wave, np.random.default_rng(0), 12.0) - wave
    assert 10 * np.log10(np.mean(wave**2) / np.mean(noise**2)) == pytest.approx(12.0, abs=0.2)
    silent = np.zeros(100, np.float32)
    assert not add_noise(silent, np.random.default_rng(0), 12.0).any()


def test_masks_are_silent_spans_and_missing_bands() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    masked = mask_times(noise, np.random.default_rng(3), 2, 0.2, RATE)
    assert 0 < (masked == 0).sum() <= 2 * 0.2 * RATE
    banded = mask_frequencies(noise, np.random.default_rng(3), 1, 1000.0, RATE)
    lost = np.abs(np.fft.rfft(banded)) < 1e-3 * np.abs(np.fft.rfft(noise)).mean()
    assert 0 < lost.sum() <= 1001
    assert (np.diff(np.flatnonzero(lost)) == 1).all()


def test_views_differ_and_are_the_same_again() -> None:
    settings, wave = AudioAugmentation(), tone()
    first, again, other = (augment(wave, settings, RATE, 0, 1, view) for view in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or not np.array_equal(first, other)


def test_training_alone_hears_changed_clips() -> None:
    clips = Clips.of([tone(0.1, frequency=200.0 + index) for index in range(6)])
    plain = AudioSplit(clips, torch.zeros(6, dtype=torch.int64), [""] * 6)
    split = AudioSplit(clips, torch.zeros(6, dtype=torch.int64), [""] * 6, ClipChanges(AudioAugmentation(views=2), RATE, 0))
    assert split.views == 2
    assert split.fingerprint != plain.fingerprint
    (ordered,) = split.ordered(6)
    (view,) = split.view(1, 6)
    (epoch,) = split.epoch(1, 6, seed=5)
    assert torch.equal(ordered.inputs["audio"], next(iter(plain.ordered(6))).inputs["audio"])
    order = torch.argsort(epoch.samples)
    assert torch.equal(epoch.inputs["audio"][order], view.inputs["audio"])
    assert not torch.equal(view.inputs["audio"], ordered.inputs["audio"])


def test_ends_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="smaller number first"):
        AudioAugmentation(speed=(1.1, 0.9))
