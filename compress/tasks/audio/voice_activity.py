"""Voice activity: does somebody speak in each frame of a clip? torch is imported only for computations."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.network_spec import LOGITS, NetworkSpec
from compress.core.signature import BATCH, TensorSpec
from compress.data.audio.settings import FRAMES
from compress.data.batch import TARGET, UNLABELLED, Split, Tensors
from compress.tasks.audio.frame_metrics import FalseAlarmsPerHour, FrameErrorRate, RocAuc, aligned_frames
from compress.tasks.audio.infer_speech_times import FIND_SPEECH, TELL_SPEECH
from compress.tasks.base import Rows, Task
from compress.tasks.calibration_samples import Sample
from compress.tasks.capability import Capability
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import Scores, TaskMetric

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.output_agreement import OutputAgreement

CLASSES = 2
"""No speech, and speech."""


class VoiceActivity(Task):
    """Speech or none in each frame; outputs are logits (N, T, 2), targets classes of frames (N, T), 1 for speech.

    A target is `UNLABELLED` after the end of a clip, and in all frames of a clip whose times of speech are not known.

    Attributes:
        name: `voice_activity`.
        metrics: The area under the ROC curve decides; the others are at a threshold that is chosen on validation.
        capabilities: A sample has many rows, one for each frame.
        infer_code: Prints from when to when somebody speaks in a file.
        stream_code: Prints the same as it is heard.
    """

    name: ClassVar[str] = "voice_activity"
    metrics: ClassVar[tuple[TaskMetric, ...]] = (RocAuc(), FrameErrorRate(), FalseAlarmsPerHour())
    capabilities: ClassVar[frozenset[Capability]] = frozenset(("class_rows",))
    infer_code: ClassVar[InferCode] = FIND_SPEECH
    stream_code: ClassVar[InferCode | None] = TELL_SPEECH
    frame_seconds: float = 0.0
    """Seconds of a frame; 0 until the data are known."""

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Logits, (batch, frames, 2)."""
        return (TensorSpec(name=LOGITS, shape=(BATCH, FRAMES, CLASSES)),)

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Class of each frame, (batch, frames)."""
        return (TensorSpec(name=TARGET, dtype="int64", shape=(BATCH, FRAMES), values=(UNLABELLED, 1)),)

    def for_spec(self, spec: NetworkSpec) -> Self:
        """The task with the length of a frame."""
        self.check_spec(spec)
        assert spec.audio is not None  # noqa: S101  # checked
        bound = copy.copy(self)
        bound.frame_seconds = (spec.audio.frame_samples or 0) / spec.audio.rate
        hours = bound.frame_seconds / 3600
        bound.metrics = (RocAuc(hours), FrameErrorRate(hours), FalseAlarmsPerHour(hours))  # type: ignore[misc]
        return bound

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that the data are clips with times of speech.

        Raises:
            DataError: They are not.
        """
        if spec.audio is None or spec.audio.frame_samples is None:
            msg = gettext(
                "task {name} needs clips with the times of speech; use a source such as audio_manifest:PATH with a column "
                "`speech`, such as `0.3-1.2 2-2.5`",
                name=self.name,
            )
            raise DataError(msg)

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy, averaged over the frames with a target.

        Args:
            outputs: Logits, (N, T, 2).
            targets: Class of each frame, (N, T).
            label_smoothing: ε in [0, 1), Szegedy et al. 2016 (arXiv:1512.00567), section 7.

        Returns:
            Scalar; 0 without such frames.
        """
        from torch.nn import functional as F

        z, y = aligned_frames(outputs[LOGITS], targets[TARGET])
        known = y >= 0
        if not bool(known.any()):
            return z.sum() * 0.0
        return F.cross_entropy(z[known].float(), y[known], label_smoothing=label_smoothing)

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """Logits and class of the frames of each clip, without those after its end."""
        from compress.tasks.audio.padded_frames import is_padding

        z, y = aligned_frames(outputs[LOGITS], targets[TARGET])
        sample, place = (~is_padding(z)).nonzero(as_tuple=True)
        return Rows(z[sample, place], y[sample, place].clamp_min(-1), sample)

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """See `compress.tasks.audio.padded_frames.frame_agreement`."""
        from compress.tasks.audio.padded_frames import frame_agreement

        return frame_agreement(reference[LOGITS], other[LOGITS])

    def calibration(self, split: Split, samples: int, seed: int, *, classes: int = 0) -> list[Sample]:  # noqa: ARG002
        """Clips of all lengths; arguments as for `Task.calibration`."""
        from compress.tasks.text.samples_by_length import samples_by_length

        return samples_by_length(split, samples, seed)

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """The area of scores that do not depend on the clip, ½."""
        return 0.5

    def operating_point(self, scores: Scores, classes: Sequence[str]) -> dict[str, str | float]:  # noqa: ARG002
        """What ships as `threshold.json`; see `HasOperatingPoint`."""
        return {
            "threshold": self.metrics[0].choose_threshold(scores),  # type: ignore[attr-defined]
            "rule": "a frame is speech where the second logit less the first is at least the threshold",
            "frame_s": self.frame_seconds,
        }
