"""Batches whose responses the student and the teacher write."""

import pytest
import torch

pytest.importorskip("transformers")

from compress.core.errors import TrainingError
from compress.data.batch import TARGET
from compress.data.text.ragged import Ragged
from compress.data.text.split import IDS, TextSplit
from compress.distill.generation.on_policy_split import OnPolicySplit, Writing, only_network
from compress.distill.generation.settings import Generation
from compress.distill.generation.teacher_texts import TeacherTexts
from compress.distill.generation.written_batches import prompts_of, responses_of
from compress.train.loss_term import POLICY, SAMPLED
from compress.train.teachers.base import Teacher
from tests.backends.tiny_decoder import network

END = 1


class OneNetwork(Teacher):
    """A teacher of some networks."""

    def __init__(self, *networks):
        self.key, self.own = "teacher", list(networks)

    def networks(self, device):  # noqa: ARG002
        return self.own


def prompts(count=16):
    rows = [[5 + index % 7, 6, 7 + index % 3, 8] for index in range(count)]
    targets = [[-100, row[2], row[3], END] for row in rows]
    return TextSplit({IDS: Ragged.of(rows)}, {TARGET: Ragged.of(targets, -100)})


def split(writer, window=2, teacher=None, texts=None, **fields):
    settings = Generation(max_new_tokens=6, **fields)
    return OnPolicySplit(prompts(), writer, settings, Writing(END, 0, 32, window, 0), teacher, texts)


def test_the_student_answers_the_prompts_of_its_batches_with_the_probabilities_of_its_tokens():
    student = network().train()
    written = split(student, student=0.5)
    batches = list(written.epoch(0, 4, 0))
    plain = list(prompts().epoch(0, 4, 0))
    assert [POLICY in batch.targets for batch in batches] == [False, True, False, True]
    assert torch.equal(batches[0].inputs[IDS], plain[0].inputs[IDS])
    assert batches[0].samples is not None
    for made, data in zip(batches[1::2], plain[1::2], strict=True):
        assert [a.tolist() for a in prompts_of(made)] == [b.tolist() for b in prompts_of(data)]
        assert made.samples is None
        log_p = student.eval()(made.inputs[IDS], made.inputs["attention_mask"]).log_softmax(2)
        known = made.targets[TARGET] >= 0
        chosen = log_p[known].gather(1, made.targets[TARGET][known][:, None])[:, 0]
        assert torch.allclose(chosen, made.targets[POLICY][known], atol=1e-4)
        assert torch.allclose(made.targets[SAMPLED][known], made.targets[POLICY][known], atol=1e-4)
    assert written.written.texts == 8
    assert written.written.tokens == sum(len(row) for batch in batches[1::2] for row in responses_of(batch))


def test_the_mode_of_the_student_and_the_random_state_stay():
    student = network().train()
    state = torch.get_rng_state()
    list(split(student, student=1.0).epoch(0, 4, 0))
    assert all(part.training for part in student.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_equal_students_write_the_same_in_the_same_epoch_and_otherwise_in_another():
    def texts(epoch, window=2):
        return [batch.targets[TARGET].tolist() for batch in split(network(), window, student=1.0).epoch(epoch, 4, 0)]

    assert texts(3) == texts(3)
    first = [row for batch in texts(0) for row in batch]
    assert first != [row for batch in texts(1) for row in batch]


def test_texts_of_a_window_are_written_before_any_is_learned_and_again_after_it():
    student = network()
    made = split(student, window=2, student=1.0, passes=2, temperature=0.0)
    epoch = made.epoch(0, 4, 0)
    window = [next(epoch) for _ in range(2)]
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.neg_()
    again = [next(epoch) for _ in range(2)]
    assert [batch.targets[TARGET].tolist() for batch in again] == [batch.targets[TARGET].tolist() for batch in window]
    assert len(list(epoch)) == 4
    assert made.batches(4) == 8


def test_the_teacher_has_its_part_in_each_token_and_its_own_batches():
    teacher = OneNetwork(network(seed=1).eval())
    mixed = list(split(network(), teacher=teacher, student=1.0, teacher_share=0.5).epoch(0, 4, 0))
    known = mixed[0].targets[TARGET] >= 0
    assert not torch.allclose(mixed[0].targets[POLICY][known], mixed[0].targets[SAMPLED][known], atol=1e-2)
    texts = TeacherTexts(Ragged.of([[20 + index % 3, END] for index in range(16)]))
    for batch, data in zip(split(network(), texts=texts, teacher=None, student=0.5).epoch(0, 4, 0), range(4), strict=True):
        assert (POLICY in batch.targets) is bool(data % 2)
    batches = list(
        OnPolicySplit(prompts(), network(), Generation(teacher=1.0), Writing(END, 0, 32, 1, 0), None, texts).epoch(0, 4, 0)
    )
    data = list(prompts().epoch(0, 4, 0))
    for made, plain in zip(batches, data, strict=True):
        assert [row.tolist() for row in responses_of(made)] == [[20 + int(sample) % 3, END] for sample in plain.samples]


def test_a_teacher_of_several_networks_writes_nothing():
    with pytest.raises(TrainingError, match="the teacher has 2 networks, and one network writes a text"):
        only_network(OneNetwork(network(), network()), torch.device("cpu"))


def test_other_settings_are_another_split():
    student = network()
    assert split(student, student=1.0).fingerprint == split(student, student=1.0).fingerprint
    assert split(student, student=1.0).fingerprint != split(student, student=0.5).fingerprint
    assert len(split(student, student=1.0)) == 16
