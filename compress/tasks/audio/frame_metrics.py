"""Metrics of speech against none in the frames of clips: area under the ROC curve, errors, false alarms per hour.

A frame has the score s = z_speech − z_none, its log odds, in one of B bins of width w. A row of statistics is of one clip:

    frames without speech in each bin (B), frames with speech (B), false alarms at the lower end of each bin (B), hours without
    speech, threshold

so that sums of rows give the metrics of any set of clips. A frame is found to be speech where s is at least the threshold,
which is the lower end of a bin. It is chosen on the validation split and written into the rows of the test split; rows without
one (NaN) are held against the threshold that suits their own sum best.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.network_spec import LOGITS
from compress.core.record import Metric
from compress.data.batch import TARGET, Tensors
from compress.tasks.metric import Scores

if TYPE_CHECKING:
    from torch import Tensor

LARGEST, WIDTH = 10.0, 0.1
"""Largest score that is told from larger ones, and w."""
BINS = round(2 * LARGEST / WIDTH)
"""B."""
Sums = NDArray[np.float64]


class FrameMetric(ABC):
    """Base of the metrics.

    Args:
        info: Its description.
        frame_hours: Hours of a frame.
    """

    is_mean: bool = False

    def __init__(self, info: Metric, frame_hours: float) -> None:
        self.info, self.frame_hours = info, frame_hours

    @abstractmethod
    def of_sums(self, sums: Sums, threshold: int) -> float:
        """The metric of sums of rows without their threshold, (3B + 1,).

        Args:
            sums: The sums.
            threshold: Number of the bin from which a frame is speech.
        """

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Statistics of each clip, without a threshold; float32 (N, 3B + 2). A score that is not finite counts as no speech.

        Args:
            outputs: Logits, (N, T, 2).
            targets: Class of each frame, negative where it has none, (N, T).
        """
        import torch

        z, y = aligned_frames(outputs[LOGITS].detach().float().cpu(), targets[TARGET].cpu())
        score = (z[..., 1] - z[..., 0]).nan_to_num(-LARGEST)
        bins = ((score + LARGEST) / WIDTH).floor().long().clamp(0, BINS - 1)
        rows = [self._row(each, classes) for each, classes in zip(bins.numpy(), y.numpy(), strict=True)]
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def _row(self, bins: NDArray[np.int64], classes: NDArray[np.int64]) -> Sums:
        known = classes >= 0
        bins, speech = bins[known], classes[known] == 1
        counts = [np.bincount(bins[chosen], minlength=BINS) for chosen in (~speech, speech)]
        hours = float((~speech).sum()) * self.frame_hours
        return np.concatenate([*counts, false_alarms(bins, speech), [hours, np.nan]])

    def value(self, scores: Scores) -> float:
        """The metric of these clips; NaN where it is not defined."""
        return self.resampled(scores)(np.ones(len(scores), np.int64))

    def resampled(self, scores: Scores) -> Callable[[NDArray[np.int64]], float]:
        """A function of how often each clip is drawn."""
        rows = scores[:, :-1].astype(np.float64)
        told = float(scores[0, -1]) if len(scores) else float("nan")

        def of_draw(counts: NDArray[np.int64]) -> float:
            sums = counts @ rows
            return self.of_sums(sums, best_threshold(sums) if np.isnan(told) else bin_of(told))

        return of_draw

    def choose_threshold(self, scores: Scores) -> float:
        """The threshold with the fewest errors, of several the one nearest to 0.

        Args:
            scores: Rows of the validation split.

        Raises:
            DataError: It has no frame with speech, or none without.
        """
        sums = scores[:, :-1].sum(axis=0, dtype=np.float64)
        if not sums[:BINS].sum() or not sums[BINS : 2 * BINS].sum():
            msg = gettext(
                "the validation split needs frames with and without speech to choose the threshold on; give it clips with both"
            )
            raise DataError(msg)
        return round(best_threshold(sums) * WIDTH - LARGEST, 6)

    def with_threshold(self, scores: Scores, threshold: float) -> Scores:
        """The rows with a threshold."""
        rows = scores.copy()
        rows[:, -1] = threshold
        return rows

    def counts(self, scores: Scores) -> tuple[int, int] | None:  # noqa: ARG002
        """None: frames of a clip are no independent samples."""
        return None


class RocAuc(FrameMetric):
    """Chance that a frame with speech has a higher score than one without; scores in one bin count half.

    Args:
        frame_hours: Hours of a frame.
    """

    def __init__(self, frame_hours: float = 0.0) -> None:
        info = Metric(name="roc_auc", label="area under the ROC curve", unit="fraction", higher_is_better=True)
        super().__init__(info, frame_hours)

    def of_sums(self, sums: Sums, threshold: int) -> float:  # noqa: ARG002  # it needs none
        """Σ_b speech_b (Σ_{c<b} none_c + none_b / 2) / (Σ speech · Σ none)."""
        none, speech = sums[:BINS], sums[BINS : 2 * BINS]
        pairs = none.sum() * speech.sum()
        return float(speech @ (np.cumsum(none) - none / 2) / pairs) if pairs else float("nan")


class FrameErrorRate(FrameMetric):
    """Fraction of the frames that are on the wrong side of the threshold; argument as of `RocAuc`."""

    def __init__(self, frame_hours: float = 0.0) -> None:
        info = Metric(name="frame_error_rate", label="frame error rate", unit="fraction", higher_is_better=False)
        super().__init__(info, frame_hours)

    def of_sums(self, sums: Sums, threshold: int) -> float:
        """Errors by frames."""
        frames = sums[: 2 * BINS].sum()
        return float(errors_at(sums)[threshold] / frames) if frames else float("nan")


class FalseAlarmsPerHour(FrameMetric):
    """Runs of frames above the threshold that hold no speech, per hour without speech; argument as of `RocAuc`."""

    def __init__(self, frame_hours: float = 0.0) -> None:
        info = Metric(name="false_alarms_per_hour", label="false alarms per hour", unit="1", higher_is_better=False)
        super().__init__(info, frame_hours)

    def of_sums(self, sums: Sums, threshold: int) -> float:
        """False alarms by hours."""
        alarms, hours = sums[2 * BINS : 3 * BINS], sums[3 * BINS]
        return float((alarms[threshold] if threshold < BINS else 0.0) / hours) if hours else float("nan")


def aligned_frames(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and targets of the same frames.

    Args:
        z: (N, T, K).
        y: (N, T'), where T' may differ from T by one.

    Raises:
        DataError: T' differs more: the network has frames of another length.
    """
    frames = z.shape[1]
    if abs(frames - y.shape[1]) > 1:
        msg = gettext(
            "the network gives {own} frames for a clip, the targets have {needed}; set data.audio.frame to the length of its "
            "frames",
            own=frames,
            needed=y.shape[1],
        )
        raise DataError(msg)
    count = min(frames, y.shape[1])
    return z[:, :count], y[:, :count]


def errors_at(sums: Sums) -> Sums:
    """Frames on the wrong side of each threshold: none at or above it, and speech below, (B + 1,)."""
    none, speech = sums[:BINS], sums[BINS : 2 * BINS]
    above = np.concatenate([np.cumsum(none[::-1])[::-1], [0.0]])
    below = np.concatenate([[0.0], np.cumsum(speech)])
    errors: Sums = above + below
    return errors


def best_threshold(sums: Sums) -> int:
    """The bin of the threshold with the fewest errors, of several the one nearest to the middle."""
    errors = errors_at(sums)
    best = np.flatnonzero(errors == errors.min())
    return int(best[np.abs(best - BINS // 2).argmin()])


def bin_of(threshold: float) -> int:
    """The bin whose lower end is this threshold."""
    return int(np.clip(round((threshold + LARGEST) / WIDTH), 0, BINS))


def false_alarms(bins: NDArray[np.int64], speech: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Runs of frames at or above each threshold in which no frame is speech, (B,).

    Args:
        bins: Bin of each frame, (T,).
        speech: Whether it is speech, (T,).
    """
    above = np.zeros((BINS, len(bins) + 2), np.int8)
    above[:, 1:-1] = bins >= np.arange(BINS)[:, None]
    edges = np.diff(above, axis=1)
    threshold, start = np.nonzero(edges == 1)
    end = np.nonzero(edges == -1)[1]
    spoken = np.concatenate([[0], np.cumsum(speech)])
    return np.bincount(threshold[spoken[end] == spoken[start]], minlength=BINS)
