"""Metrics of frames against their definitions, frame by frame."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from compress.core.errors import DataError
from compress.core.network_spec import LOGITS
from compress.data.batch import TARGET
from compress.tasks.audio.frame_metrics import BINS, FalseAlarmsPerHour, FrameErrorRate, FrameMetric, RocAuc
from compress.tasks.metric import Scores

FRAME_H = 0.02 / 3600


def drawn(clips: int = 4, frames: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Scores in the middle of their bins, so that bins lose nothing, and classes with spans of speech."""
    generator = np.random.default_rng(0)
    y = (generator.normal(0, 1, (clips, frames)).cumsum(1) > 0).astype(np.int64)
    score = np.round(np.clip(generator.normal(3.0 * y - 1.5, 2.0), -9, 9), 1) + 0.05
    return score, y


def rows_of(metric: FrameMetric, score: np.ndarray, y: np.ndarray) -> Scores:
    z = torch.from_numpy(np.stack([-score / 2, score / 2], axis=2)).float()
    return metric.scores({LOGITS: z}, {TARGET: torch.from_numpy(y)}).numpy()


def test_the_area_is_that_of_all_pairs_of_frames_and_frames_without_a_class_do_not_count() -> None:
    score, y = drawn()
    y[0, 150:] = -100
    rows = rows_of(RocAuc(FRAME_H), score, y)
    assert rows.shape == (4, 3 * BINS + 2)
    assert RocAuc().value(rows) == pytest.approx(roc_auc_score(y[y >= 0], score[y >= 0]))
    counts = np.array([2, 0, 1, 1])
    known = np.repeat(y, counts, axis=0)
    expected = roc_auc_score(known[known >= 0], np.repeat(score, counts, axis=0)[known >= 0])
    assert RocAuc().resampled(rows)(counts) == pytest.approx(expected)


def test_errors_and_false_alarms_are_those_at_the_threshold_of_another_split() -> None:
    score, y = drawn()
    metric = FrameErrorRate(FRAME_H)
    rows = rows_of(metric, score, y)
    threshold = metric.choose_threshold(rows)
    errors = {round(edge, 1): ((score >= edge) != (y == 1)).mean() for edge in np.arange(-10, 10.1, 0.1)}
    assert errors[threshold] == min(errors.values())
    assert metric.value(rows) == pytest.approx(errors[threshold])  # its own where none is told
    other = metric.with_threshold(rows, 1.5)
    assert metric.value(other) == pytest.approx(errors[1.5])
    alarms = 0
    for clip, classes in zip(score >= 1.5, y, strict=True):
        runs = [[*group] for above, group in groupby(zip(clip, classes, strict=True), lambda pair: pair[0]) if above]
        alarms += sum(not any(speech for _, speech in run) for run in runs)
    assert alarms > 3
    hours = (y == 0).sum() * FRAME_H
    assert FalseAlarmsPerHour(FRAME_H).value(other) == pytest.approx(alarms / hours, rel=1e-5)
    assert metric.counts(rows) is None


def test_scores_that_are_not_finite_are_no_speech_and_a_split_of_one_kind_has_no_threshold() -> None:
    score, y = np.full((1, 3), np.nan), np.array([[0, 1, 1]])
    rows = rows_of(RocAuc(), score, y)
    assert rows[0, 0] == 1
    assert rows[0, BINS] == 2
    assert np.isnan(RocAuc().value(rows_of(RocAuc(), score, np.zeros((1, 3), np.int64))))
    with pytest.raises(DataError, match="frames with and without speech"):
        RocAuc().choose_threshold(rows_of(RocAuc(), score, np.ones((1, 3), np.int64)))


def test_frames_of_another_length_are_told() -> None:
    with pytest.raises(DataError, match="gives 10 frames for a clip, the targets have 20"):
        RocAuc().scores({LOGITS: torch.zeros(1, 10, 2)}, {TARGET: torch.zeros(1, 20, dtype=torch.int64)})
