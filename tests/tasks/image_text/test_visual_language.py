"""Answers to questions on images: metrics and loss on outputs that are written by hand, and the data of the task."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

from compress.core.errors import DataError
from compress.data.batch import UNLABELLED
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.pipeline.task_data import check_targets, data_for_task
from compress.tasks.image_text.visual_language import VisualLanguageTask

TARGETS = {"target": torch.tensor([[UNLABELLED, 4, 2, 1], [UNLABELLED, UNLABELLED, 3, 1], [UNLABELLED, 2, 1, UNLABELLED]])}


def outputs(*rows):
    return {"logits": F.one_hot(torch.tensor(rows), 6).float() * 20}


def test_an_answer_counts_if_each_of_its_tokens_is_the_likeliest():
    task = VisualLanguageTask()
    exact, perplexity, _, tokens = task.metrics
    written = outputs([0, 4, 2, 1], [5, 5, 3, 0], [0, 2, 1, 5])
    assert task.metric == "exact_match"
    assert exact.scores(written, TARGETS).tolist() == [1, 0, 1]
    assert tokens.value(tokens.scores(written, TARGETS).numpy()) == pytest.approx(6 / 7)
    right = outputs([3, 4, 2, 1], [3, 3, 3, 1], [3, 2, 1, 3])
    assert perplexity.value(perplexity.scores(right, TARGETS).numpy()) == pytest.approx(1, abs=1e-4)
    assert float(task.loss(right, TARGETS)) < 1e-4 < float(task.loss(written, TARGETS))
    assert task.distillable(written, TARGETS).targets.tolist() == [4, 2, 1, 3, 1, 2, 1]


def settings(source):
    return DataSettings(
        source=source,
        image_size=16,
        samples=62,
        augment="none",
        columns={"targets": "next"},
        tokenizer={"train": "bpe", "vocabulary": 320},
        lengths={"typical": 16, "most": 48},
    )


@pytest.mark.parametrize("source", ["drawn_questions", "drawn_captions"])
def test_the_targets_are_the_tokens_of_the_answer_and_its_end(source):
    data = data_for_task(load_data(settings(source), base=Path()), VisualLanguageTask())
    check_targets(VisualLanguageTask().for_spec(data.spec), data)
    assert data.spec.image_text.writes
    batch = next(iter(data.train.ordered(4)))
    tokenizer = Tokenizer.from_str(data.files["tokenizer.json"].decode())
    end = tokenizer.token_to_id(data.spec.image_text.text.end_token)
    for row, target in enumerate(batch.targets["target"]):
        answer = target[target >= 0].tolist()
        assert answer[-1] == end
        assert data.train.name(row).endswith(f" {tokenizer.decode(answer)}")
        length = int(batch.inputs["attention_mask"][row].sum())
        assert batch.inputs["input_ids"][row, length - len(answer) + 1 : length].tolist() == answer[:-1]


def test_data_of_other_tasks_are_refused_both_ways():
    plain = settings("drawn_questions").model_copy(update={"columns": DataSettings().columns})
    with pytest.raises(DataError, match="has questions with answers, for the task visual_language"):
        load_data(plain, base=Path())
    digits = load_data(DataSettings(source="digits", image_size=16, limit=20), base=Path())
    with pytest.raises(DataError, match="task visual_language"):
        data_for_task(digits, VisualLanguageTask())
