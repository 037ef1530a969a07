"""Settings of audio data: sampling rate, lengths, columns of a manifest. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.data.text.settings import Columns

AUDIO, MASK = "audio", "attention_mask"
"""Names of the inputs: samples of each clip, and 1 for each sample that is no padding, as in transformers."""
SAMPLES = "samples"
"""Name of the free axis of audio samples."""
FRAMES = "frames"
"""Name of the free axis of the frames of a network's outputs."""
Factor = Annotated[float, Field(ge=0.5, le=2.0)]
AudioTargets = Literal["transcripts", "classes", "speech", "tokens"]
"""Kinds of targets: what is said, a class for each clip, the times in which somebody speaks, or
what is said in tokens."""
TARGET_COLUMNS: dict[AudioTargets, str] = {"transcripts": "text", "classes": "label", "speech": "speech", "tokens": "text"}
"""Default name of the column of targets."""


class AudioAugmentation(FrozenModel):
    """How training clips are changed; see `compress.data.audio.augment`.

    Attributes:
        speed: Least and largest factor of the speed.
        snr: Least and largest ratio of clip and white noise, dB; None for no noise.
        time_masks: Number of silent spans.
        time_seconds: Longest of them.
        frequency_masks: Number of bands that are taken out.
        frequency_hz: Widest of them.
        views: How many changed forms of a clip training cycles through.
    """

    speed: tuple[Factor, Factor] = (0.9, 1.1)
    snr: tuple[float, float] | None = (10.0, 30.0)
    time_masks: int = Field(default=1, ge=0, le=20)
    time_seconds: float = Field(default=0.1, ge=0.0, le=10.0)
    frequency_masks: int = Field(default=1, ge=0, le=20)
    frequency_hz: float = Field(default=300.0, ge=0.0)
    views: int = Field(default=4, ge=1, le=1000)

    @model_validator(mode="after")
    def _are_intervals(self) -> Self:
        for name, ends in (("speed", self.speed), ("snr", self.snr)):
            if ends is not None and ends[0] > ends[1]:
                msg = gettext("{name} is {ends}; write the smaller number first", name=name, ends=list(ends))
                raise ValueError(msg)
        return self


class AudioSettings(FrozenModel):
    """Sampling rate, lengths and targets of audio clips.

    Attributes:
        rate: Samples per second that the network takes, Hz; files with another rate are resampled.
        typical: Length that is served most, seconds, for examples and timings.
        most: Longest clip, seconds. Longer clips with transcripts are left out, and longer clips with a class are cut there.
        file: Name of the column of a manifest with the path of the audio file, relative to the manifest.
        target: Name of the column of targets; None is `text` for transcripts, `label` for classes and `speech` for times.
        group: Name of the column with the group of each clip, such as its speaker; the report shows the metric of each group.
        targets: `transcripts`, `classes`, `speech` or `tokens`; None is what the task needs.
        frame: Length of a frame with a target of `speech`, seconds; that of the network's frames, hop · stride.
        characters: The characters that the network can write, besides the space; None for those of the training transcripts.
        lowercase: Whether transcripts are made lower case.
        most_tokens: Longest transcript in tokens, with those around it, for `tokens`.
        augment: How training clips are changed, alike for teacher and student; None for as they are.
    """

    rate: int = Field(default=16_000, ge=4_000, le=96_000)
    typical: float = Field(default=2.0, gt=0.0, le=3600.0)
    most: float = Field(default=15.0, gt=0.0, le=3600.0)
    file: str = "audio"
    target: str | None = None
    group: str | None = None
    targets: AudioTargets | None = None
    frame: float = Field(default=0.02, gt=0.0, le=1.0)
    characters: str | None = Field(default=None, min_length=1)
    lowercase: bool = True
    most_tokens: int = Field(default=128, ge=4, le=4096)
    augment: AudioAugmentation | None = None

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        if self.typical > self.most:
            msg = gettext(
                "audio.typical is {typical} s and audio.most is {most} s; write typical ≤ most",
                typical=self.typical,
                most=self.most,
            )
            raise ValueError(msg)
        return self

    @property
    def kind(self) -> AudioTargets:
        """The kind of the targets."""
        return self.targets or "transcripts"

    @property
    def most_samples(self) -> int:
        """Longest clip in samples."""
        return round(self.most * self.rate)

    @property
    def frame_samples(self) -> int:
        """Length of a frame with a target in samples."""
        return max(1, round(self.frame * self.rate))

    @property
    def columns(self) -> Columns:
        """The columns of a manifest, as those of a table of texts."""
        return Columns(text=self.file, target=self.target or TARGET_COLUMNS[self.kind], group=self.group)
