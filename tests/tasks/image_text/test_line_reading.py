"""Lines of text in images: metrics and loss on outputs that are written by hand."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from compress.core.errors import CompressError, DataError
from compress.data.batch import UNLABELLED
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.pipeline.task_data import check_targets, data_for_task
from compress.tasks.choice import TaskChoice
from compress.tasks.image_text.line_reading import ImageToText

DRAWN = DataSettings(source="drawn_lines", image_size=[16, 64], channels=1, samples=62, augment="none")


@pytest.fixture(scope="module")
def data():
    return data_for_task(load_data(DRAWN, base=Path()), ImageToText())


def columns(texts, names, length=30):
    """Logits in which each character stands in two columns, with a blank after it, (N, T, K)."""
    paths = [[part for each in text for part in (names.index(each), names.index(each), 0)] for text in texts]
    classes = torch.tensor([path + [0] * (length - len(path)) for path in paths])
    return F.one_hot(classes, len(names)).float() * 9


def test_lines_are_judged_by_characters_and_as_a_whole(data):
    task, names = ImageToText().for_spec(data.spec), list(data.spec.classes)
    wanted, written = ["aab 1", "zz", "7"], ["aab 1", "z", "72"]
    rows = [[names.index(each) for each in text] for text in wanted]
    target = torch.tensor([row + [UNLABELLED] * (6 - len(row)) for row in rows])
    outputs, targets = {"logits": columns(written, names)}, {"target": target}
    cer, exact = task.metrics
    assert task.metric == "cer"
    assert cer.value(cer.scores(outputs, targets).numpy()) == pytest.approx(2 / 8)
    assert exact.scores(outputs, targets).tolist() == [1, 0, 0]
    right = {"logits": columns(wanted, names)}
    assert float(task.loss(right, targets)) < 0.2 < float(task.loss(outputs, targets))
    assert task.distillable(outputs, targets).logits.shape == (3 * 30, len(names))
    assert task.agreement(outputs, right).top1 < 1


def test_drawn_lines_fit_the_task(data):
    check_targets(ImageToText().for_spec(data.spec), data)
    assert data.spec.classes[0] == "<blank>"
    assert set("".join(data.train.texts)) <= set(data.spec.classes)
    batch = next(iter(data.train.ordered(4)))
    texts = ["".join(data.spec.classes[each] for each in row if each > 0) for row in batch.targets["target"].tolist()]
    assert texts == [*data.train.texts[:4]]
    assert batch.input.shape == (4, 1, 16, 64)


def test_other_data_and_forms_are_refused():
    digits = load_data(DataSettings(source="digits", image_size=16, limit=20), base=Path())
    with pytest.raises(DataError, match="task image_to_text is for networks that give logits"):
        data_for_task(digits, ImageToText())
    with pytest.raises(CompressError, match="form"):
        TaskChoice.read({"image_to_text": {"form": "spoken"}})
