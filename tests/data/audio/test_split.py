"""Batches of clips: order, padding, epochs."""

from __future__ import annotations

import torch

from compress.data.audio.clips import Clips
from compress.data.audio.split import AudioSplit
from compress.data.batch import TARGET
from compress.data.text.ragged import Ragged
from tests.data.audio.files import tone


def a_split(seed: int = 0) -> AudioSplit:
    waves = [tone(0.01 * (index + 1), frequency=100.0 + index + seed) for index in range(9)]
    return AudioSplit(Clips.of(waves), Ragged.of([[1] * index for index in range(1, 10)], -100), [f"{n}.wav" for n in range(9)])


def test_every_clip_comes_once_in_order() -> None:
    batches = list(a_split().ordered(4))
    assert [batch.size for batch in batches] == [4, 4, 1]
    assert batches[1].targets[TARGET][0].tolist() == [1, 1, 1, 1, 1, -100, -100, -100]
    assert batches[1].inputs["attention_mask"].sum(1).tolist() == [400, 480, 560, 640]


def test_an_epoch_is_seeded_and_has_every_clip_but_a_rest_of_one() -> None:
    first, again, other = (torch.cat([batch.samples for batch in a_split().epoch(0, 4, seed)]) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()
    assert len(set(first.tolist())) == len(first) == 8 == sum([4] * a_split().batches(4))


def test_equal_clips_have_equal_fingerprints() -> None:
    assert a_split().fingerprint == a_split().fingerprint != a_split(1).fingerprint
    assert a_split().contents(3) == a_split().contents(3) != a_split().contents(4)
    assert a_split().name(3) == "3.wav"
    assert a_split().labels is None
