"""Losses and the texts that they learn from."""

import pytest

from compress.core.registry import lookup
from compress.distill.generation.check_losses import check_generation
from compress.distill.generation.settings import Generation


def loss(name, **fields):
    return lookup("loss", name).load()(**fields)


@pytest.mark.parametrize(
    ("fields", "losses", "fault"),
    [
        (None, ["minillm"], r"loss `minillm` learns from texts that the student writes; add `generation: \{student: 1.0\}`"),
        ({"teacher": 1.0}, ["llmr", "task"], "loss `llmr` learns from texts that the student writes"),
        ({"student": 1.0}, ["task"], "none of the losses task learns from the batches of `student` texts"),
        ({"student": 0.5}, ["llmr"], "none of the losses llmr learns from the batches of `data` texts"),
    ],
)
def test_losses_without_texts_and_texts_without_losses_are_refused(fields, losses, fault):
    with pytest.raises(ValueError, match=fault):
        check_generation(None if fields is None else Generation(**fields), [loss(name) for name in losses])


def test_losses_that_fit_are_taken():
    check_generation(None, [loss("task")])
    check_generation(Generation(student=0.5), [loss("minillm")])
    check_generation(Generation(student=1.0), [loss("token_divergence"), loss("task", weight=0.5)])
    check_generation(Generation(teacher=1.0), [loss("task")])
