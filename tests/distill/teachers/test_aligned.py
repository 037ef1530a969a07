"""A teacher with another tokenizer: rows against whole texts in its tokens, and a student that learns from it."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("transformers")

from compress.core.stage import Candidate
from compress.data.batch import TARGET
from compress.data.text.context_tokens import prompt_tokens, text_origin
from compress.data.text.packing import end_token
from compress.data.text.settings import TrainedTokenizer
from compress.data.text.train_tokenizer import train_tokenizer
from compress.distill.generation.written_batches import prompts_of, responses_of
from compress.distill.losses.gold import GeneralLogit
from compress.distill.losses.uld import UniversalLogit
from compress.distill.stage import Distill
from compress.distill.teachers.aligned import AlignedTeacher
from compress.train.loss_term import LossInputs
from tests.backends.tiny_decoder import network
from tests.distill.generation.test_prepare import context  # noqa: F401  # a fixture


@pytest.fixture
def own(context):  # noqa: F811
    return text_origin(context.data.train, "x").tokenizer


@pytest.fixture
def other(context, own):  # noqa: F811
    texts = [*own_texts(context), "four blue cats sat in Paris and saw the sky"]
    return train_tokenizer(TrainedTokenizer(train="bpe", vocabulary=400, lowercase=False), texts, 64)


def own_texts(context):  # noqa: F811
    table = text_origin(context.data.train, "x").table
    return [*table.texts, *table.pairs]


def test_rows_have_the_probabilities_of_the_texts_in_the_teachers_tokens(context, own, other):  # noqa: F811
    inner = network(seed=1, size=420)
    teacher = AlignedTeacher(inner, other, own, context.task)
    batch = next(iter(context.data.train.ordered(100)))
    found = teacher.logits(batch)
    table, row = text_origin(context.data.train, "x").table, 0
    assert int(batch.targets[TARGET].ge(0).sum()) == len(found)
    for prompt, text, response in zip(table.texts, table.pairs, responses_of(batch), strict=True):
        ids = [*other.plain_encodings([text])[0].ids, end_token(other)]
        tokens = torch.tensor([[*prompt_tokens([prompt], other)[0].tolist(), *ids]])
        log_p = inner(tokens, torch.ones_like(tokens))[0].log_softmax(1)
        rows = found[row : row + len(response)]
        begins = ~rows.isnan().any(1)
        assert bool(begins[0])
        assert bool(begins[-1]), "the end is a group of its own"
        start = tokens.shape[1] - len(ids) - 1
        total = sum(log_p[start + place, token] for place, token in enumerate(ids))
        firsts = [ids[place] for place in first_places(rows, own, response, text, other)]
        merged = rows[begins].gather(1, torch.tensor(firsts)[:, None]).sum()
        assert merged.item() == pytest.approx(total.item(), rel=1e-4)
        row += len(response)


def first_places(rows, own, response, text, other):
    """Place of the teacher's first token of each group, from the characters of the student's tokens before it."""
    places, encoding = [], other.plain_encodings([text])[0]
    for place in (~rows.isnan().any(1)).nonzero()[:, 0].tolist():
        size = len(own.tokenizer.decode(response[:place].tolist()))
        ends = [0, *(end for _, end in encoding.offsets)]
        places.append(len(ends) - 1 if place == len(response) - 1 else ends.index(size))
    return places


def test_a_teacher_with_the_same_tokens_gives_its_own_rows(context, own):  # noqa: F811
    inner = network(seed=1, size=320)
    batch = next(iter(context.data.train.ordered(100)))
    expected = context.task.distillable(context.task.training_forward(inner, batch.inputs, batch.targets), batch.targets)
    found = AlignedTeacher(inner, own, own, context.task).logits(batch)
    torch.testing.assert_close(found, expected.logits.log_softmax(1), atol=1e-4, rtol=1e-4)


def test_tokens_of_the_same_name_are_shared_and_the_ends_of_texts(context, own, other):  # noqa: F811
    teacher = AlignedTeacher(network(seed=1, size=420), other, own, context.task)
    mine, theirs = (numbers.tolist() for numbers in teacher.shared_classes)
    ends = end_token(own), end_token(other)
    pairs = [pair for pair in zip(mine, theirs, strict=True) if pair != ends]
    names = [(own.tokenizer.id_to_token(one), other.tokenizer.id_to_token(two)) for one, two in pairs]
    assert all(one == two for one, two in names)
    assert len(set(mine)) == len(set(theirs)) == len(mine) > 100
    assert ends in list(zip(mine, theirs, strict=True))


@pytest.mark.parametrize("generation", [None, {"student": 1.0, "max_new_tokens": 5}])
@pytest.mark.parametrize("term", [UniversalLogit(), GeneralLogit()])
def test_the_student_comes_nearer_to_it(context, own, other, generation, term):  # noqa: F811
    spec = context.task.complete_spec(context.data.spec)
    task = context.task.for_spec(spec)
    teacher = Candidate(spec, network(seed=1, size=420))
    ready = replace(context, data=replace(context.data, spec=spec), task=task, teachers=(teacher,), teacher_tokenizers=(other,))
    student = Candidate(spec, network(size=320))
    settings = {"epochs": 12, "batch_size": 4, "lr": 0.01, "keep": "last", "losses": [term], "generation": generation}
    outcome = Distill(**settings).run(student, ready)
    batch = next(iter(context.data.train.ordered(100)))
    aligned = AlignedTeacher(teacher.network(), other, own, task)
    rows = aligned.logits(batch)

    def loss(module):
        found = task.distillable(task.training_forward(module, batch.inputs, batch.targets), batch.targets)
        shared = aligned.shared_classes
        return float(
            term.forward(LossInputs(batch, found.logits, rows, task, row_targets=found.targets, shared_classes=shared))
        )

    with torch.no_grad():
        assert loss(outcome.candidate.network()) < (0.8 if generation is None else 0.95) * loss(student.network())


def test_prompts_are_read_as_the_data_write_them(context, own, other):  # noqa: F811
    teacher = AlignedTeacher(network(seed=1, size=420), other, own, context.task)
    table = text_origin(context.data.train, "x").table
    found = [teacher._prompt(prompt.tolist()) for prompt in prompts_of(next(iter(context.data.train.ordered(100))))]
    assert found == list(table.texts)
