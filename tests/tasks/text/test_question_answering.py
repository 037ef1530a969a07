import pytest
import torch
from torch.nn import functional as F

from compress.tasks.choice import TaskChoice
from compress.tasks.text.question_answering import QuestionAnswering
from tests.tasks.text.test_answer_metric import OFFSETS, outputs, targets
from tests.tasks.text.text_arrays import text_spec


def test_places_outside_of_the_text_have_no_probability():
    true = targets([["Ada"], ["Bob"], ["Paris"]], windows=[(1, 4)] * 3)
    true["start"], true["end"] = torch.tensor([1, 2, -1]), torch.tensor([1, 3, -1])
    z = {"start_logits": torch.randn(3, 6), "end_logits": torch.randn(3, 6)}
    loss = QuestionAnswering().loss(z, true)
    start = F.cross_entropy(z["start_logits"][:2, :4], true["start"][:2])
    end = F.cross_entropy(z["end_logits"][:2, :4], true["end"][:2])
    torch.testing.assert_close(loss, (start + end) / 2)
    padded = {name: F.pad(values, (0, 3), value=9.0) for name, values in z.items()}
    longer = true | {name: F.pad(true[name], (0, 3)) for name in ("first_character", "next_character")}
    torch.testing.assert_close(QuestionAnswering().loss(padded, longer), loss)


def test_rows_for_losses_are_over_the_places_of_the_text():
    true = targets([["Ada"]] * 2, windows=[(1, 4)] * 2)
    z = {"start_logits": torch.randn(2, 6, requires_grad=True), "end_logits": torch.randn(2, 6)}
    rows = QuestionAnswering().distillable(z, true)
    assert rows.logits.shape == (4, 6)
    assert rows.samples.tolist() == [0, 1, 0, 1]
    assert torch.equal(rows.logits[:2, :4], z["start_logits"][:, :4])
    assert bool((rows.logits[:, 4:] < rows.logits[:, :4].amin(1, keepdim=True) - 9).all())


def test_chance_with_null_answers_is_the_fraction_of_questions_without_one():
    task = TaskChoice.read({"question_answering": {"null_answers": True}}).make()
    true = targets([[], ["Bob"], [], []])
    scores = task.deciding.scores(outputs([(1, 1, 3.0)] * 4), true).numpy()
    assert task.deciding.value(scores) == 0
    assert task.chance_level((), {"answer_f1": scores}) == 0.75
    assert QuestionAnswering().chance_level((), {"answer_f1": scores}) == 0


def test_outputs_have_the_length_of_the_input():
    spec = QuestionAnswering().complete_spec(text_spec())
    assert [str(each) for each in spec.signature.outputs] == [
        "start_logits: float32 batch×sequence",
        "end_logits: float32 batch×sequence",
    ]
    z = {"start_logits": torch.randn(4, len(OFFSETS)), "end_logits": torch.randn(4, len(OFFSETS))}
    other = {name: values.clone() for name, values in z.items()}
    other["end_logits"][0] = -other["end_logits"][0]
    assert QuestionAnswering().agreement(z, other).top1 == pytest.approx(7 / 8)
