"""Context distillation: the student without the prompt comes nearer to the teacher with it."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("transformers")

from compress.core.errors import CompressError
from compress.core.stage import Candidate
from compress.distill.stage import Distill
from compress.distill.teachers.prompted import PromptedParent, PromptedTeacher
from compress.train.settings import Training
from tests.backends.tiny_decoder import network
from tests.distill.generation.test_prepare import context  # noqa: F401  # a fixture

SYSTEM = "a cat sat"


def ready(context):  # noqa: F811
    task = context.task
    spec = task.complete_spec(context.data.spec)
    teacher = Candidate(spec, network(seed=1, size=320))
    data = replace(context.data, spec=spec)
    return replace(context, data=data, task=task.for_spec(spec), teachers=(teacher,)), Candidate(spec, network(size=320))


@torch.no_grad()
def divergence(student, teacher, batch, task):
    """Mean KL(p_t ‖ p_s) over the tokens of responses."""
    rows = task.distillable(task.training_forward(student, batch.inputs, batch.targets), batch.targets).logits.log_softmax(1)
    expected = teacher.logits(batch).log_softmax(1)
    return float((expected.exp() * (expected - rows)).sum(1).mean())


@pytest.mark.parametrize("generation", [None, {"student": 1.0, "max_new_tokens": 5}, {"teacher": 1.0, "max_new_tokens": 5}])
def test_the_student_without_the_prompt_imitates_the_teacher_with_it(context, generation):  # noqa: F811
    prepared, student = ready(context)
    settings = {"system": SYSTEM, "examples": [{"prompt": "one", "response": "two"}]}
    teacher = PromptedTeacher(**settings).build(student, prepared, Training(), None)
    batch = next(iter(prepared.data.train.ordered(8)))
    bare = prepared.teachers[0].network()
    assert divergence(bare, teacher, batch, prepared.task) > 0.01, "the prompt changes the teacher's answers"
    outcome = Distill(
        epochs=6, batch_size=4, lr=0.01, keep="last", losses=[{"token_divergence": {"kind": "forward"}}],
        teacher={"prompted": settings}, generation=generation,
    ).run(student, prepared)  # fmt: skip
    before = divergence(student.network(), teacher, batch, prepared.task)
    after = divergence(outcome.candidate.network(), teacher, batch, prepared.task)
    assert after < 0.7 * before


def test_a_parent_with_a_prompt_needs_no_teacher(context):  # noqa: F811
    prepared, student = ready(context)
    alone = replace(prepared, teachers=())
    teacher = PromptedParent(system=SYSTEM).build(student, alone, Training(), None)
    assert teacher.networks(torch.device("cpu"))[0].network.training is False
    assert teacher.key != PromptedParent(system="another").build(student, alone, Training(), None).key
    with pytest.raises(CompressError, match="the recipe has none"):
        PromptedTeacher(system=SYSTEM).build(student, alone, Training(), None)


def test_a_prompted_teacher_needs_a_prompt_and_the_tokens_of_the_data(context):  # noqa: F811
    with pytest.raises(ValueError, match="a prompted teacher needs a prompt"):
        PromptedTeacher()
    prepared, student = ready(context)
    other = replace(prepared, teacher_tokenizers=(object(),))
    with pytest.raises(CompressError, match="has a tokenizer of its own"):
        PromptedTeacher(system=SYSTEM).build(student, other, Training(), None)
