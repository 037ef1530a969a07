"""Compare the classes that a reference and a network give the samples of the test split, for the record of a stage."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.core.class_comparison import (
    CLASSES,
    CONFUSIONS,
    DISAGREEMENTS,
    PICTURE_SIZE,
    PICTURES,
    TEXT_LENGTH,
    ClassChange,
    ClassComparison,
    ConfusionChange,
    Disagreement,
)
from compress.core.statistics import paired_difference, wilson
from compress.tasks.metric import ThresholdMetric

if TYPE_CHECKING:
    from compress.data.interface import Data
    from compress.pipeline.stage_output import StageOutput
    from compress.tasks.base import Task

Answers = NDArray[np.float64]
"""Predicted class, true class and probability of the predicted class of each sample, (N, 3)."""
SCANNED = 5000
"""Number of samples among which disagreements get a picture, so that a large split is not read once more for twelve of them."""


def compare_with(reference: StageOutput | None, answers: Answers | None, data: Data, task: Task) -> ClassComparison | None:
    """Compare with the reference of the run; None without one, and where samples have no class, or a threshold decides on it.

    Args:
        reference: The reference.
        answers: Of the network.
        data: For names of classes and pictures of samples.
        task: Task; a threshold of its deciding metric makes other classes of the outputs than the largest logit.
    """
    if isinstance(task.deciding, ThresholdMetric):
        return None
    before = reference.answers() if reference is not None else None
    if reference is None or before is None or answers is None or len(before) != len(answers):
        return None
    names = data.spec.classes
    if (
        (before[:, 1] != answers[:, 1]).any()
        or not names
        or not (answers[:, 1] >= 0).any()
        or max(before[:, :2].max(), answers[:, :2].max()) >= len(names)
    ):
        return None
    samples = shown_disagreements(before, answers)
    pictures = _pictures(data, [sample for sample in samples if sample < SCANNED][:PICTURES])
    comparison = compare_classes(reference.record.name, before, answers, names, pictures)
    return comparison.model_copy(update={"disagreements": tuple(_with_text(each, data) for each in comparison.disagreements)})


def compare_classes(
    reference: str, before: Answers, answers: Answers, names: Sequence[str], pictures: Mapping[int, str]
) -> ClassComparison:
    """The comparison of two networks on the same samples.

    Args:
        reference: Name of the first network.
        before: Its answers.
        answers: Those of the second network.
        names: Of the classes.
        pictures: JPEG as base64 by sample.
    """
    labelled = answers[:, 1] >= 0
    first, second, true = (values[labelled].astype(int) for values in (before[:, 0], answers[:, 0], answers[:, 1]))
    right_before, right = first == true, second == true
    worse, better = int((right_before & ~right).sum()), int((right & ~right_before).sum())
    equal, count = int((first == second).sum()), len(true)
    interval = wilson(equal, count)
    classes = sorted(_classes(first, second, true, names), key=lambda each: (each.recall - each.recall_before, each.name))
    confusions = sorted(_confusions(first, second, true, names), key=lambda each: -abs(each.count - each.before))
    shown = tuple(_disagreement(sample, before, answers, names, pictures) for sample in shown_disagreements(before, answers))
    return ClassComparison(
        reference=reference,
        samples=count,
        equal=equal / count,
        equal_low=interval[0],
        equal_high=interval[1],
        only_reference=worse,
        only_network=better,
        p_value=mcnemar(worse, better),
        class_count=len(classes),
        classes=tuple(classes[:CLASSES]),
        confusions=tuple(confusions[:CONFUSIONS]),
        disagreement_count=count - equal,
        disagreements=shown,
    )


def mcnemar(worse: int, better: int) -> float:
    """P-value of the exact two-sided McNemar test: a binomial test of `worse` in `worse + better` with probability ½.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12:153.
    """
    from scipy.stats import binomtest

    return float(binomtest(worse, worse + better).pvalue) if worse + better else 1.0


def shown_disagreements(before: Answers, answers: Answers) -> list[int]:
    """Samples with different classes: those that only the reference classifies correctly first, then by confidence.

    At most `DISAGREEMENTS` of them, in this order.
    """
    differ = np.flatnonzero((before[:, 0] != answers[:, 0]) & (answers[:, 1] >= 0))
    lost = before[differ, 0] == answers[differ, 1]
    order = np.lexsort((differ, -answers[differ, 2], ~lost))
    return [int(sample) for sample in differ[order][:DISAGREEMENTS]]


def _classes(
    first: NDArray[np.int64], second: NDArray[np.int64], true: NDArray[np.int64], names: Sequence[str]
) -> Iterator[ClassChange]:
    for number in np.unique(true):
        members = true == number
        recalls = [(predicted[members] == number).astype(np.float64) for predicted in (first, second)]
        _, low, high = paired_difference(recalls[1], recalls[0])
        yield ClassChange(
            name=names[number],
            samples=int(members.sum()),
            recall_before=float(recalls[0].mean()),
            recall=float(recalls[1].mean()),
            low=low,
            high=high,
            f1_before=_f1(first, true, int(number)),
            f1=_f1(second, true, int(number)),
        )


def _f1(predicted: NDArray[np.int64], true: NDArray[np.int64], number: int) -> float:
    """2 · TP / (2 · TP + FP + FN) of a class with samples."""
    right = int(((predicted == number) & (true == number)).sum())
    return 2 * right / int((predicted == number).sum() + (true == number).sum())


def _confusions(
    first: NDArray[np.int64], second: NDArray[np.int64], true: NDArray[np.int64], names: Sequence[str]
) -> Iterator[ConfusionChange]:
    counts: dict[tuple[int, int], list[int]] = {}
    for index, predicted in enumerate((first, second)):
        wrong = predicted != true
        pairs, numbers = np.unique(np.stack([true[wrong], predicted[wrong]]), axis=1, return_counts=True)
        for (a, b), number in zip(pairs.T.tolist(), numbers.tolist(), strict=True):
            counts.setdefault((a, b), [0, 0])[index] = number
    for (a, b), (old, new) in counts.items():
        if old != new:
            yield ConfusionChange(name=names[a], predicted=names[b], before=old, count=new)


def _disagreement(
    sample: int, before: Answers, answers: Answers, names: Sequence[str], pictures: Mapping[int, str]
) -> Disagreement:
    return Disagreement(
        sample=sample,
        name=names[int(answers[sample, 1])],
        before=names[int(before[sample, 0])],
        before_confidence=round(float(before[sample, 2]), 4),
        predicted=names[int(answers[sample, 0])],
        confidence=round(float(answers[sample, 2]), 4),
        image=pictures.get(sample, ""),
    )


def _with_text(disagreement: Disagreement, data: Data) -> Disagreement:
    """The disagreement with the start of its text, where the test split has texts."""
    texts: Sequence[str] = getattr(data.test, "texts", ())
    if disagreement.sample >= len(texts):
        return disagreement
    text = " ".join(texts[disagreement.sample].split())
    short = text if len(text) <= TEXT_LENGTH else f"{text[: TEXT_LENGTH - 1]}…"
    return disagreement.model_copy(update={"text": short})


def _pictures(data: Data, samples: Sequence[int]) -> dict[int, str]:
    """Small JPEGs of samples, as base64; none where the samples are no images of one or three channels."""
    shapes = [tensor.shape for tensor in data.spec.signature.inputs]
    if not samples or not data.spec.takes_images or len(shapes) != 1 or shapes[0][1] not in (1, 3):
        return {}
    from compress.data.denormalise import to_pixels

    pictures: dict[int, str] = {}
    start = 0
    for batch in data.test.ordered(64):
        wanted = [sample for sample in samples if start <= sample < start + batch.size]
        for sample in wanted:
            index = sample - start
            pictures[sample] = _jpeg(to_pixels(batch.input[index : index + 1].cpu(), data.spec)[0])
        start += batch.size
        if len(pictures) == len(samples):
            break
    return pictures


def _jpeg(pixels: NDArray[np.uint8]) -> str:
    """A picture (H, W, C) with sides of at most `PICTURE_SIZE` as JPEG, base64."""
    from PIL import Image

    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    image.thumbnail((PICTURE_SIZE, PICTURE_SIZE))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
