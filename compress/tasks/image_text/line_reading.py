"""Texts of images: lines that are read by connectionist temporal classification (CTC). torch is imported on use."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import BaseModel

from compress.core.errors import DataError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import LOGITS, NetworkSpec
from compress.core.record import Metric
from compress.data.batch import TARGET, Split, Tensors
from compress.data.characters import BLANK_NAME
from compress.tasks.audio.speech_ctc import SpeechCtc
from compress.tasks.audio.transcript_metrics import CER, TranscriptErrors, transcript_of
from compress.tasks.calibration_samples import Sample, spread_samples
from compress.tasks.capability import Capability
from compress.tasks.ctc_decoding import greedy_texts
from compress.tasks.image_text.infer_code import READ_LINE
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import MeanOfScores, TaskMetric

if TYPE_CHECKING:
    from torch import Tensor

EXACT_MATCH = Metric(name="exact_match", label="exact match", unit="fraction", higher_is_better=True)


class ExactText(MeanOfScores):
    """Fraction of the lines whose text has no error.

    Args:
        names: Names of the classes; empty until the data are known.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        super().__init__(EXACT_MATCH)
        self.names = names

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """1 for a line that is read as it is, else 0, float32 (N,)."""
        import torch

        texts = greedy_texts(outputs[LOGITS].detach().float().cpu().numpy(), self.names)
        rows = targets[TARGET].cpu().numpy()
        right = [text == transcript_of(row, self.names) for text, row in zip(texts, rows, strict=True)]
        return torch.tensor(right, dtype=torch.float32)


class ImageToTextOptions(FrozenModel):
    """Options of the task `image_to_text`.

    Attributes:
        form: `ctc`: a class of characters for each column of a line of text.
    """

    form: Literal["ctc"] = "ctc"


class ImageToText(SpeechCtc):
    """What a line of text in an image says; outputs are logits (N, T, K) for T columns, targets classes of characters (N, U).

    Loss and targets are those of `SpeechCtc`, with columns from left to right in place of frames of time.

    Args:
        form: `ctc`.

    Attributes:
        name: `image_to_text`.
        metrics: The deciding metric is the character error rate; `exact_match` is the fraction of lines without an error.
        capabilities: A sample is an image, and has a row for each column.
        settings: `form`.
        infer_code: Prints the text of an image.
    """

    name: ClassVar[str] = "image_to_text"
    settings: ClassVar[type[BaseModel]] = ImageToTextOptions
    metrics: ClassVar[tuple[TaskMetric, ...]] = (TranscriptErrors(CER), ExactText())
    capabilities: ClassVar[frozenset[Capability]] = frozenset(("continuous_input", "class_rows", "blank_class", "image_input"))
    infer_code: ClassVar[InferCode] = READ_LINE

    def __init__(self, form: Literal["ctc"] = "ctc") -> None:
        self.form = form

    def for_spec(self, spec: NetworkSpec) -> Self:
        """The task with the names of the characters."""
        bound = copy.copy(self)
        bound.metrics = (TranscriptErrors(CER, spec.classes), ExactText(spec.classes))  # type: ignore[misc]
        return bound

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that the data are images with texts.

        Raises:
            DataError: They are not.
        """
        if spec.classes[:1] != (BLANK_NAME,) or spec.image_channels is None:
            msg = gettext(
                "task {name} needs images of lines with their texts; use drawn_lines, or image_lines:PATH", name=self.name
            )
            raise DataError(msg)

    def calibration(self, split: Split, samples: int, seed: int, *, classes: int = 0) -> list[Sample]:  # noqa: ARG002
        """A seeded random choice; arguments as for `Task.calibration`."""
        return spread_samples(split, samples, seed)
