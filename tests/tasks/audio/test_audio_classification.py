"""Classes of clips, and false accepts per hour of background."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.core.errors import DataError
from compress.core.network_spec import LOGITS, image_spec
from compress.data.audio.build import audio_spec
from compress.data.audio.settings import AudioSettings
from compress.data.batch import TARGET
from compress.tasks.audio.audio_classification import LENGTH, AudioClassification

SPEC = audio_spec(AudioSettings(rate=8000), ("background", "no", "yes"))


def test_false_accepts_are_those_of_the_background_by_its_hours() -> None:
    task = AudioClassification(threshold=0.6).for_spec(SPEC)
    z = torch.tensor([[0.0, 9, 0], [9, 0, 0], [0.0, 0.1, 0], [0, 0, 9.0]])
    outputs = task.complete_outputs({LOGITS: z}, {"attention_mask": torch.ones(4, 8000 * 36, dtype=torch.int64)})
    scores = task.metrics[1].scores(outputs, {TARGET: torch.tensor([0, 0, 0, 2])})
    np.testing.assert_allclose(scores, [[1, 0.01], [0, 0.01], [0, 0.01], [0, 0]])
    assert task.metrics[1].value(scores.numpy()) == pytest.approx(1 / 0.03)
    assert outputs[LENGTH].tolist() == [8000 * 36] * 4


def test_without_a_background_nothing_is_counted() -> None:
    task = AudioClassification(background="other").for_spec(SPEC)
    scores = task.metrics[1].scores({LOGITS: torch.zeros(2, 3), LENGTH: torch.ones(2)}, {TARGET: torch.tensor([0, 1])})
    assert np.isnan(task.metrics[1].value(scores.numpy()))
    assert task.key == {"audio_classification": {"background": "other"}}


def test_accuracy_decides_and_other_data_are_refused() -> None:
    assert AudioClassification().metric == "accuracy"
    images = image_spec(channels=3, height=8, width=8, mean=(0.0,), std=(1.0,), classes=("a", "b"))
    with pytest.raises(DataError, match="needs clips of audio"):
        AudioClassification().for_spec(images)
