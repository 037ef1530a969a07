"""Networks that give a class to each frame have the frames of their targets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compress.core.errors import ModelError
from compress.data.audio.build import audio_spec
from compress.data.audio.settings import AudioSettings
from compress.data.audio.speech_times import SPEECH_CLASSES
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.audio.voice_activity import VoiceActivity

SPEC = audio_spec(AudioSettings(rate=8000, targets="speech"), SPEECH_CLASSES)


def test_a_network_gives_a_class_to_each_frame_of_the_targets(tmp_path: Path) -> None:
    task = VoiceActivity()
    settings = ModelSettings(source="audio_frames:quartznet", args={"width": 4, "kernels": [3]})
    module = build_model(settings, task.complete_spec(SPEC), seed=0, base=tmp_path, task=task).module
    assert module(torch.zeros(2, 8000), torch.ones(2, 8000, dtype=torch.int64)).shape == (2, 50, 2)


def test_frames_of_another_length_are_refused(tmp_path: Path) -> None:
    task = VoiceActivity()
    settings = ModelSettings(source="audio_frames:quartznet", args={"stride": 1})
    with pytest.raises(ModelError, match=r"frames of 0.01 s \(hop · stride\), the targets of the data have 0.02 s"):
        build_model(settings, task.complete_spec(SPEC), seed=0, base=tmp_path, task=task)
