"""Comparison of the classes of two networks on the test samples."""

import base64
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from compress.core.class_comparison import CLASSES, CONFUSIONS, DISAGREEMENTS, PICTURE_SIZE, PICTURES, TEXT_LENGTH
from compress.core.network_spec import NetworkSpec, image_spec
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.data.batch import Batch
from compress.pipeline.compare_classes import Answers, compare_classes, compare_with, mcnemar, shown_disagreements
from compress.tasks.classification import Classification
from compress.tasks.inspection import Inspection

NAMES = tuple("abcde")


def answers(predicted: np.ndarray, true: np.ndarray, confidence: float = 0.5) -> Answers:
    return np.stack([predicted, true, np.full(len(true), confidence)], axis=1).astype(np.float64)


def random_answers(samples: int = 300, classes: int = 5) -> tuple[Answers, Answers]:
    """A good network, and one that is worse on class 0."""
    generator = np.random.default_rng(0)
    true = generator.integers(0, classes, samples)
    first = np.where(generator.random(samples) < 0.9, true, generator.integers(0, classes, samples))
    second = np.where((true == 0) & (generator.random(samples) < 0.5), 1, first)
    return answers(first, true), answers(second, true)


def test_recall_f1_and_confusions_are_those_of_scikit_learn() -> None:
    before, after = random_answers()
    comparison = compare_classes("teacher", before, after, NAMES, {})
    true = after[:, 1]
    recalls = [recall_score(true, each[:, 0], average=None) for each in (before, after)]
    f1 = [f1_score(true, each[:, 0], average=None) for each in (before, after)]
    tables = [confusion_matrix(true, each[:, 0]) for each in (before, after)]
    for each in comparison.classes:
        number = NAMES.index(each.name)
        assert (each.recall_before, each.recall) == pytest.approx((recalls[0][number], recalls[1][number]))
        assert (each.f1_before, each.f1) == pytest.approx((f1[0][number], f1[1][number]))
        assert each.low <= each.recall - each.recall_before <= each.high
    assert comparison.classes[0].name == "a"
    for change in comparison.confusions:
        place = NAMES.index(change.name), NAMES.index(change.predicted)
        assert (change.before, change.count) == (tables[0][place], tables[1][place])
    assert (comparison.confusions[0].name, comparison.confusions[0].predicted) == ("a", "b")


def test_counts_of_pairs_agree_with_each_other() -> None:
    before, after = random_answers()
    comparison = compare_classes("teacher", before, after, NAMES, {})
    right = [(each[:, 0] == each[:, 1]).sum() for each in (before, after)]
    assert right[1] - right[0] == comparison.only_network - comparison.only_reference
    assert comparison.disagreement_count == round((1 - comparison.equal) * comparison.samples)
    assert comparison.equal_low <= comparison.equal <= comparison.equal_high


def test_samples_without_a_label_count_nowhere() -> None:
    before, after = random_answers()
    unlabelled = np.array([[1.0, -100.0, 0.9]])
    with_one = compare_classes("teacher", np.vstack([before, unlabelled]), np.vstack([after, unlabelled + 1]), NAMES, {})
    assert with_one == compare_classes("teacher", before, after, NAMES, {})


def test_the_test_is_exact() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(0, 6) == pytest.approx(2 * 0.5**6)


def test_lists_are_bounded_and_lost_samples_come_first() -> None:
    count = 2000
    true = np.arange(count) % 200
    before = answers(np.where(np.arange(count) % 2, true, (true + 1) % 200), true)
    after = answers((true + 2) % 200, true, 0.25)
    comparison = compare_classes("teacher", before, after, tuple(f"class {index}" for index in range(200)), {})
    assert (len(comparison.classes), len(comparison.confusions)) == (CLASSES, CONFUSIONS)
    assert (comparison.class_count, comparison.disagreement_count) == (200, count)
    assert len(comparison.disagreements) == DISAGREEMENTS
    assert all(each.name == each.before for each in comparison.disagreements)
    assert len(comparison.model_dump_json()) < 30_000


class Noise:
    """Test split of colour noise, and how many batches were read."""

    def __init__(self, samples: int) -> None:
        self.images = torch.rand((samples, 3, 200, 100), generator=torch.Generator().manual_seed(0)) * 2 - 1
        self.read = 0

    def ordered(self, batch_size: int) -> Any:
        for images in self.images.split(batch_size):
            self.read += 1
            yield Batch.of(images, torch.zeros(len(images), dtype=torch.int64))


def reference(folder: Path, before: Answers | None) -> Any:
    return SimpleNamespace(record=SimpleNamespace(name="teacher"), answers=lambda: before)


def test_disagreements_have_small_pictures_of_their_samples(tmp_path: Path) -> None:
    spec = image_spec(channels=3, height=200, width=100, mean=(0.5,) * 3, std=(0.5,) * 3, classes=NAMES)
    true = np.zeros(600)
    before, after = answers(true, true), answers(np.where(np.arange(600) < 40, 1, 0), true)
    split = Noise(600)
    data: Any = SimpleNamespace(spec=spec, test=split)
    comparison = compare_with(reference(tmp_path, before), after, data, Classification())
    assert comparison is not None
    pictures = {each.sample: each.image for each in comparison.disagreements if each.image}
    assert len(pictures) == PICTURES
    assert split.read == 1  # the others are in no batch that it needs
    for sample, text in pictures.items():
        content = base64.b64decode(text)
        assert len(content) < 12_000
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, max(image.size)) == ("JPEG", PICTURE_SIZE)
            expected = Image.fromarray(((split.images[sample].permute(1, 2, 0).numpy() + 1) * 127.5).astype(np.uint8))
            expected.thumbnail((PICTURE_SIZE, PICTURE_SIZE))
            difference = np.asarray(image, float).mean((0, 1)) - np.asarray(expected, float).mean((0, 1))
            assert np.abs(difference).max() < 2


def test_disagreements_have_the_start_of_their_texts(tmp_path: Path) -> None:
    true = np.zeros(3)
    before, after = answers(true, true), answers(np.array([1, 0, 1]), true)
    tokens = TensorSpec(name="input_ids", dtype="int64", shape=(BATCH, "sequence"))
    data: Any = SimpleNamespace(
        spec=NetworkSpec(signature=Signature(inputs=(tokens,)), classes=NAMES),
        test=SimpleNamespace(texts=["a\n  <b>word</b>", "the same", "w" * 5000]),
    )
    comparison = compare_with(reference(tmp_path, before), after, data, Classification())
    assert comparison is not None
    texts = {each.sample: each.text for each in comparison.disagreements}
    assert texts[0] == "a <b>word</b>"
    assert texts[2] == "w" * (TEXT_LENGTH - 1) + "…"


def test_nothing_is_compared_without_a_reference_or_with_other_samples(tmp_path: Path) -> None:
    spec = image_spec(channels=3, height=200, width=100, mean=(0.5,) * 3, std=(0.5,) * 3, classes=NAMES)
    data: Any = SimpleNamespace(spec=spec, test=Noise(1))
    before, after = random_answers()
    others = after.copy()
    others[:, 1] = (others[:, 1] + 1) % 5
    for first, second in ((None, after), (before, None), (before, after[:-1]), (before, others)):
        assert compare_with(reference(tmp_path, first), second, data, Classification()) is None
    assert compare_with(None, after, data, Classification()) is None


def test_nothing_is_compared_where_a_threshold_decides(tmp_path: Path) -> None:
    spec = image_spec(channels=3, height=200, width=100, mean=(0.5,) * 3, std=(0.5,) * 3, classes=NAMES)
    data: Any = SimpleNamespace(spec=spec, test=Noise(1))
    before, after = random_answers()
    assert compare_with(reference(tmp_path, before), after, data, Inspection()) is None


def test_shown_disagreements_are_ordered_by_what_was_lost_and_by_confidence() -> None:
    before = np.array([[0, 0, 0.9], [1, 0, 0.9], [0, 0, 0.9], [0, 0, 0.9]])
    after = np.array([[1, 0, 0.6], [2, 0, 0.99], [2, 0, 0.8], [0, 0, 0.9]])
    assert shown_disagreements(before, after) == [2, 0, 1]
