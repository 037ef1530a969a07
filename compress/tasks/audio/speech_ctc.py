"""Speech recognition by connectionist temporal classification (CTC). torch is imported only for computations.

Graves et al. 2006, "Connectionist Temporal Classification", ICML.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import BaseModel

from compress.core.errors import DataError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import LOGITS, NetworkSpec
from compress.core.signature import BATCH, TensorSpec
from compress.data.audio.settings import FRAMES
from compress.data.batch import TARGET, UNLABELLED, Split, Tensors
from compress.data.characters import BLANK, BLANK_NAME
from compress.tasks.audio.infer_codes import STREAM_TRANSCRIPT, WRITE_BY_BEAM, WRITE_TRANSCRIPT
from compress.tasks.audio.padded_frames import frame_agreement, is_padding
from compress.tasks.audio.transcript_metrics import CER, WER, TranscriptErrors
from compress.tasks.base import Rows, Task
from compress.tasks.calibration_samples import Sample
from compress.tasks.capability import Capability
from compress.tasks.ctc_beam import WIDTH
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import Scores, TaskMetric

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.output_agreement import OutputAgreement

Decoding = Literal["greedy", "beam"]
CHARACTERS = "characters"
"""Name of the free axis of the characters of a transcript."""


class SpeechOptions(FrozenModel):
    """Options of the task `speech_ctc`.

    Attributes:
        decoding: `greedy`, the likeliest class of each frame; `beam`, the likeliest text of a prefix-beam search over 8
            prefixes, in metrics and in `infer.py`.
    """

    decoding: Decoding = "greedy"


class SpeechCtc(Task):
    """What is said in a clip; outputs are logits (N, T, K) for T frames, targets classes of characters (N, U).

    Class 0 is the blank. A target is `UNLABELLED` after the end of a transcript, and `UNKNOWN` for a character that is no
    class: an error for the metrics, and left out for the loss; see `compress.data.characters`.

    Args:
        decoding: See `SpeechOptions`.

    Attributes:
        name: `speech_ctc`.
        metrics: The deciding metric is the word error rate.
        capabilities: A sample has many rows, one for each frame.
        infer_code: Prints the text of an audio file.
        stream_code: Prints it as it is heard.
    """

    name: ClassVar[str] = "speech_ctc"
    settings: ClassVar[type[BaseModel]] = SpeechOptions
    metrics: ClassVar[tuple[TaskMetric, ...]] = (TranscriptErrors(WER), TranscriptErrors(CER))
    capabilities: ClassVar[frozenset[Capability]] = frozenset(("class_rows", "blank_class"))
    infer_code: ClassVar[InferCode] = WRITE_TRANSCRIPT
    stream_code: ClassVar[InferCode | None] = STREAM_TRANSCRIPT

    def __init__(self, decoding: Decoding = "greedy") -> None:
        self.decoding = decoding
        if decoding == "beam":
            self.infer_code = WRITE_BY_BEAM  # type: ignore[misc]

    @classmethod
    def infer_codes(cls) -> tuple[InferCode, ...]:
        """The code of both ways of decoding."""
        return (WRITE_TRANSCRIPT, WRITE_BY_BEAM)

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Logits, (batch, frames, K)."""
        return (TensorSpec(name=LOGITS, shape=(BATCH, FRAMES, len(classes))),)

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:
        """Characters of each transcript, (batch, characters)."""
        values = (UNLABELLED, max(0, len(classes) - 1))
        return (TensorSpec(name=TARGET, dtype="int64", shape=(BATCH, CHARACTERS), values=values),)

    def for_spec(self, spec: NetworkSpec) -> Self:
        """The task with the names of the characters."""
        bound = copy.copy(self)
        beam = WIDTH if self.decoding == "beam" else None
        bound.metrics = tuple(TranscriptErrors(info, spec.classes, beam) for info in (WER, CER))  # type: ignore[misc]
        return bound

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that the data are transcripts of audio.

        Raises:
            DataError: They are not.
        """
        if spec.classes[:1] != (BLANK_NAME,):
            msg = gettext(
                "task {name} needs clips with transcripts, whose first class is {blank}; use a source such as "
                "audio_manifest:PATH",
                name=self.name,
                blank=BLANK_NAME,
            )
            raise DataError(msg)

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
        """CTC loss of the transcripts, each divided by its length, averaged over the clips that have one.

            L = −mean_n log Σ_π Π_t softmax(z_nt)_π_t / U_n   over the paths π that give the transcript

        Args:
            outputs: Logits z, (N, T, K).
            targets: Classes of characters, int64 (N, U).
            label_smoothing: ε in [0, 1): weight of the mean of −log p over frames and classes, Szegedy et al. 2016
                (arXiv:1512.00567), section 7.

        Returns:
            Scalar; 0 if no clip has a transcript. A clip with fewer frames than its transcript needs has no path, and counts 0.
        """
        from torch.nn import functional as F

        log_p, y = outputs[LOGITS].float().log_softmax(dim=2), targets[TARGET]
        told, lengths = (y > BLANK), (y > BLANK).sum(1)
        chosen = lengths > 0
        if not bool(chosen.any()):
            return log_p.sum() * 0.0
        flat = y[chosen][told[chosen]]
        frames = log_p.new_full((int(chosen.sum()),), log_p.shape[1]).long()
        losses = F.ctc_loss(
            log_p[chosen].transpose(0, 1), flat, frames, lengths[chosen], blank=BLANK, reduction="none", zero_infinity=True
        )
        loss = (losses / lengths[chosen]).mean()
        if label_smoothing == 0.0:
            return loss
        spread = -log_p[~is_padding(outputs[LOGITS])].mean()
        return (1.0 - label_smoothing) * loss + label_smoothing * spread

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:  # noqa: ARG002
        """The logits of the frames of each clip, without those after its end; a frame has no class of its own."""
        import torch

        z = outputs[LOGITS]
        sample, place = (~is_padding(z)).nonzero(as_tuple=True)
        rows = z[sample, place]
        return Rows(rows, torch.full((len(rows),), -1, device=rows.device), sample)

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """Differences of the logits, and the fraction of frames with the same class; frames after the end of a clip are 0."""
        return frame_agreement(reference[LOGITS], other[LOGITS])

    def calibration(self, split: Split, samples: int, seed: int, *, classes: int = 0) -> list[Sample]:  # noqa: ARG002
        """Clips of all lengths; arguments as for `Task.calibration`."""
        from compress.tasks.text.samples_by_length import samples_by_length

        return samples_by_length(split, samples, seed)

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """The WER of no text for any clip, 1: each word is left out."""
        return 1.0
