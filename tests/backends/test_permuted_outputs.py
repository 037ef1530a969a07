"""Outputs that are assigned to other samples."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.backends.permuted_outputs import PermutedOutputs
from compress.data.batch import Batch
from compress.tasks.classification import Classification
from compress.tasks.detection import Detection
from compress.tasks.metric_quantity import gain_of
from compress.tasks.regression import Regression


def parts(outputs: Tensor, targets: Tensor, size: int, name: str = "values") -> Iterator[tuple[dict[str, Tensor], Batch]]:
    for start in range(0, len(outputs), size):
        part = slice(start, start + size)
        yield {name: outputs[part]}, Batch.of(torch.zeros(len(outputs[part]), 1), targets[part])


def assigned(count: int, size: int, **options: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the samples, and those of the samples that their outputs are of: the error is the distance of the places."""
    places = torch.arange(count, dtype=torch.float32)[:, None]
    kept, task = PermutedOutputs(count, **options), Regression()
    seen = [batch.size for _, batch in kept.watch(parts(places, torch.zeros(count, 1), size))]
    assert sum(seen) == count
    scored = kept.scores(task, task.deciding)
    return scored.rows, np.sqrt(scored.permuted[:, 0]).round().astype(int)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_every_sample_gets_the_outputs_of_another_one_whatever_the_batches(size: int) -> None:
    rows, others = assigned(50, size)
    assert rows.tolist() == list(range(50))
    assert sorted(others) == list(range(50))
    assert (others != rows).all()
    assert others.tolist() == assigned(50, 50)[1].tolist()
    assert len(np.unique(others - rows)) > 20


def test_of_a_large_split_a_random_sample_is_kept() -> None:
    rows, others = assigned(1000, 64, most_bytes=8 * 100)
    assert len(rows) == 100
    assert set(others) == set(rows)
    assert rows[0] < 100
    assert rows[-1] > 900


def test_answers_in_order_of_the_classes_are_at_chance_when_permuted() -> None:
    targets = torch.arange(400) // 100
    task, kept = Classification(), PermutedOutputs(400)
    for _ in kept.watch(parts(torch.eye(4)[targets], targets, 50, "logits")):
        pass
    scored = kept.scores(task, task.deciding)
    assert scored.permuted.mean() == pytest.approx(0.25, abs=0.08)


def test_outputs_are_assigned_to_samples_with_outputs_of_the_same_shape() -> None:
    task, kept = Regression(), PermutedOutputs(7)
    widths = (2, 3, 2, 4, 3, 2, 2)
    samples = ((torch.full((1, width), float(place)), torch.zeros(1, width)) for place, width in enumerate(widths))
    for _ in kept.watch(part for outputs, targets in samples for part in parts(outputs, targets, 1)):
        pass
    scored = kept.scores(task, task.deciding)
    assert scored.rows.tolist() == [0, 1, 2, 4, 5, 6]
    others = np.sqrt(scored.permuted[:, 0] / scored.permuted[:, 1]).round().astype(int)
    assert [widths[other] for other in others] == [widths[row] for row in scored.rows]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_samples_have_no_other(count: int) -> None:
    kept, task = PermutedOutputs(count), Regression()
    for _ in kept.watch(parts(torch.zeros(count, 1), torch.zeros(count, 1), 4)):
        pass
    assert kept.scores(task, task.deciding) is None


@pytest.mark.parametrize("looks", [False, True])
def test_a_detector_of_the_usual_place_gains_nothing(looks: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    centres, jitter = 32 + 6 * torch.randn(80, 2, generator=generator), 6 * torch.randn(80, 2, generator=generator)
    predicted = centres + 0.2 * jitter if looks else 32 + jitter
    true, anchors = (torch.cat([each - 10, each + 10], dim=1)[:, None] for each in (centres, predicted))
    outputs = {
        "class_logits": torch.rand(80, 1, 1, generator=generator),
        "boxes": torch.zeros(80, 1, 4),
        "anchors": anchors,
        "image_size": torch.full((80, 2), 64.0),
    }
    targets = {"boxes": true, "classes": torch.zeros(80, 1, dtype=torch.int64)}
    task, kept = Detection(), PermutedOutputs(80)
    for _ in kept.watch([(outputs, Batch({"image": torch.zeros(80, 1)}, targets))]):
        pass
    own = task.deciding.scores(outputs, targets).numpy()
    gain = gain_of(task.deciding, kept.scores(task, task.deciding).permuted, own, "others")
    assert task.deciding.value(own) > 0.05
    assert (gain.low > 0.5) if looks else (gain.low < 0 < gain.high)
