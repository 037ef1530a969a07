"""Classes of clips of audio, such as spoken commands, speakers or events; also keyword spotting. torch is imported on use.

A keyword spotter hears mostly what is none of its words. It is judged by its accuracy, and by how often in an hour of other
sounds it takes one for a word.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel, Field

from compress.core.errors import DataError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import LOGITS, NetworkSpec
from compress.core.record import Metric
from compress.data.audio.settings import MASK
from compress.data.batch import TARGET, Split, Tensors
from compress.tasks.calibration_samples import Sample
from compress.tasks.capability import Capability
from compress.tasks.classification import CalibrationError, Classification, TopKAccuracy
from compress.tasks.metric import RatioOfSums, TaskMetric

if TYPE_CHECKING:
    from torch import Tensor

BACKGROUND = "background"
"""Default name of the class of sounds that are none of the words."""
LENGTH = "length"
"""Entry of the outputs with the samples of each clip, int64 (N,)."""
FALSE_ACCEPTS = Metric(name="false_accepts_per_hour", label="false accepts per hour", unit="1", higher_is_better=False)


class FalseAcceptsPerHour(RatioOfSums):
    """Clips of the background that are taken for a word, per hour of background.

        Σ_n [argmax z_n ≠ background and max softmax(z_n) ≥ threshold] / Σ_n hours_n   over the clips of the background

    Args:
        background: Class number of the background; None without one, where nothing is counted.
        threshold: Smallest probability for which a word is accepted.
        rate: Samples per second.
    """

    def __init__(self, background: int | None = None, threshold: float = 0.5, rate: int = 1) -> None:
        super().__init__(FALSE_ACCEPTS)
        self.background, self.threshold, self.rate = background, threshold, rate

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """False accepts and hours of each clip, float32 (N, 2); both 0 for clips of words."""
        import torch

        z, y = outputs[LOGITS].float(), targets[TARGET]
        if self.background is None or LENGTH not in outputs:
            return z.new_zeros((len(z), 2))
        probability, best = z.softmax(dim=1).max(dim=1)
        is_background = (y == self.background).float()
        accepted = ((best != self.background) & (probability >= self.threshold)).float()
        hours = outputs[LENGTH].float() / self.rate / 3600
        return torch.stack([accepted * is_background, hours * is_background], dim=1)


class AudioOptions(FrozenModel):
    """Options of the task `audio_classification`.

    Attributes:
        background: Name of the class of sounds that are none of the words, for false accepts; where the data have no such
            class, none are counted.
        threshold: Smallest probability for which a word is accepted.
    """

    background: str = BACKGROUND
    threshold: float = Field(default=0.5, ge=0.0, lt=1.0)


class AudioClassification(Classification):
    """One class out of K for each clip; outputs, targets and loss are those of classification.

    Args:
        background: See `AudioOptions`.
        threshold: See `AudioOptions`.

    Attributes:
        name: `audio_classification`.
        metrics: Accuracy decides; `false_accepts_per_hour` is that of a keyword spotter.
        capabilities: Those of classification, but for images.
    """

    name: ClassVar[str] = "audio_classification"
    settings: ClassVar[type[BaseModel]] = AudioOptions
    metrics: ClassVar[tuple[TaskMetric, ...]] = (TopKAccuracy(), FalseAcceptsPerHour(), TopKAccuracy(5), CalibrationError())
    capabilities: ClassVar[frozenset[Capability]] = Classification.capabilities - {"image_input", "continuous_input"}

    def __init__(self, background: str = BACKGROUND, threshold: float = 0.5) -> None:
        self.background, self.threshold = background, threshold

    def for_spec(self, spec: NetworkSpec) -> Self:
        """The task with the class of the background and the sampling rate.

        Raises:
            DataError: The data are no audio.
        """
        if spec.audio is None:
            msg = gettext("task {name} needs clips of audio; use a source such as audio_manifest:PATH", name=self.name)
            raise DataError(msg)
        number = spec.classes.index(self.background) if self.background in spec.classes else None
        accepts = FalseAcceptsPerHour(number, self.threshold, spec.audio.rate)
        bound = copy.copy(self)
        bound.metrics = (self.metrics[0], accepts, *self.metrics[2:])  # type: ignore[misc]
        return bound

    def complete_outputs(self, outputs: Tensors, inputs: Tensors) -> Tensors:
        """The outputs with the samples of each clip."""
        return {**outputs, LENGTH: inputs[MASK].sum(1)} if MASK in inputs else outputs

    def calibration(self, split: Split, samples: int, seed: int, *, classes: int = 0) -> list[Sample]:  # noqa: ARG002
        """Clips of all lengths; arguments as for `Task.calibration`."""
        from compress.tasks.text.samples_by_length import samples_by_length

        return samples_by_length(split, samples, seed)
