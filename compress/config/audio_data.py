"""Settings of audio data that follow from the task: what the targets are. Imports no torch."""

from __future__ import annotations

from compress.data.audio.settings import AudioTargets
from compress.data.settings import DataSettings
from compress.tasks.base import Task

TARGETS: dict[str, AudioTargets] = {"speech_ctc": "transcripts", "voice_activity": "speech"}
"""Targets of the tasks of audio; those of other tasks are classes."""


def complete_audio_data(data: DataSettings, task: Task) -> DataSettings:
    """The settings with the targets that the task needs.

    Args:
        data: The `data:` block.
        task: The task.
    """
    if data.kind != "audio" or data.audio.targets is not None:
        return data
    targets = TARGETS.get(task.name, "classes")
    return data.model_copy(update={"audio": data.audio.model_copy(update={"targets": targets})})
