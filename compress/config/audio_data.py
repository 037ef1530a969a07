"""Settings of audio data that follow from the task: what the targets are. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from compress.config.text_data import tokenizer_of
from compress.data.audio.settings import AudioTargets
from compress.data.settings import DataSettings
from compress.data.text.settings import MODEL
from compress.models.settings import ModelSettings
from compress.tasks.base import Task

TARGETS: dict[str, AudioTargets] = {"speech_ctc": "transcripts", "voice_activity": "speech", "speech_seq2seq": "tokens"}
"""Targets of the tasks of audio; those of other tasks are classes."""


def complete_audio_data(data: DataSettings, task: Task, models: Iterable[ModelSettings] = ()) -> DataSettings:
    """The settings with the targets that the task needs, and the tokenizer of the networks where it writes tokens.

    Args:
        data: The `data:` block.
        task: The task.
        models: The teachers, then the model.
    """
    if data.kind != "audio":
        return data
    targets = data.audio.targets or TARGETS.get(task.name, "classes")
    update: dict[str, object] = {"audio": data.audio.model_copy(update={"targets": targets})}
    if targets == "tokens" and data.tokenizer in (None, MODEL):
        update["tokenizer"] = tokenizer_of(models)
    return data.model_copy(update=update)
