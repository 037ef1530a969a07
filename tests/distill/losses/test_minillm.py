"""MiniLLM against the gradient of the divergence of whole texts, which is computed from all texts."""

import pytest
import torch

from compress.data.batch import TARGET, Batch
from compress.distill.losses.minillm import MiniLlm, rewards_of_rest
from compress.train.loss_term import POLICY, SAMPLED, LossInputs
from tests.distill.losses.enumerated_texts import TEXTS, expected_gradient, inputs_of, log_prob, tables

EXACT = {"gamma": 1.0, "length_normalization": False, "whiten": False}


@pytest.mark.parametrize("single_step", [True, False])
def test_the_expected_gradient_is_that_of_the_reverse_divergence_of_texts(single_step):
    student, teacher = tables(0), tables(1)
    divergence = sum(log_prob(student, text).exp() * (log_prob(student, text) - log_prob(teacher, text)) for text in TEXTS)
    exact = torch.autograd.grad(divergence, student)
    found = expected_gradient(student, teacher, MiniLlm(**EXACT, single_step=single_step))
    for one, other in zip(found, exact, strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_the_rewards_of_the_rest_are_divided_by_its_length():
    rewards, samples = torch.tensor([1.0, 2.0, 6.0, 5.0]), torch.tensor([0, 0, 0, 1])
    assert rewards_of_rest(rewards, samples, 1.0, by_length=True, after=True).tolist() == [4.0, 6.0, 0.0, 0.0]
    assert rewards_of_rest(rewards, samples, 1.0, by_length=True, after=False).tolist() == [3.0, 4.0, 6.0, 5.0]
    assert rewards_of_rest(rewards, samples, 1.0, by_length=False, after=False).tolist() == [9.0, 8.0, 6.0, 5.0]


def test_tokens_of_a_mixture_have_their_importance():
    student, teacher = tables(0), tables(1)
    term = MiniLlm(gamma=1.0, length_normalization=False, whiten=False, single_step=False, clip=10.0)
    plain = inputs_of(student, teacher, (1, 2))
    old = plain.batch.targets[POLICY][0]
    drawn = torch.logaddexp(old + torch.log(torch.tensor(0.5)), torch.tensor([-0.3, -0.9]) + torch.log(torch.tensor(0.5)))
    mixed = inputs_of(student, teacher, (1, 2), sampled=drawn)
    rewards = plain.teacher_logits.log_softmax(1).gather(1, torch.tensor([[1], [2]]))[:, 0] - old
    sums = rewards.flip(0).cumsum(0).flip(0)
    expected = -((old - drawn).exp() * sums).mean()
    assert term.forward(mixed).item() == pytest.approx(expected.item())


def test_texts_of_the_data_have_the_loss_of_pretraining():
    draw = torch.Generator().manual_seed(0)
    z_s, z_t = torch.randn(4, 7, generator=draw), torch.randn(4, 7, generator=draw)
    y = torch.tensor([[1, 2], [-100, 3], [4, -100]])
    inputs = LossInputs(Batch({"input_ids": y}, {TARGET: y}), z_s, z_t, None, row_targets=torch.tensor([1, 2, 3, 4]))
    cross_entropy = torch.nn.functional.cross_entropy(z_s, inputs.row_targets)
    divergence = torch.nn.functional.kl_div(z_s.log_softmax(1), z_t.log_softmax(1), log_target=True, reduction="batchmean")
    assert MiniLlm(pretraining=2.0).forward(inputs).item() == pytest.approx((cross_entropy + divergence).item(), rel=1e-5)
    assert MiniLlm().applies_to(sampled=False)
    assert not MiniLlm(pretraining=0.0).applies_to(sampled=False)


def test_a_student_that_is_the_teacher_has_no_gradient():
    student = tables(0)
    for text in TEXTS:
        gradients = torch.autograd.grad(MiniLlm(whiten=False).forward(inputs_of(student, student, text)), student)
        assert all(torch.allclose(gradient, torch.zeros_like(gradient), atol=1e-12) for gradient in gradients)


def test_padding_and_other_texts_do_not_change_the_loss_of_a_token():
    draw = torch.Generator().manual_seed(0)
    z_s, z_t = torch.randn(5, 7, generator=draw), torch.randn(5, 7, generator=draw)

    def loss(target, rows):
        y = target[target >= 0]
        old = torch.zeros_like(target, dtype=torch.float32)
        old[target >= 0] = z_s[rows].log_softmax(1).gather(1, y[:, None])[:, 0] - 0.1
        batch = Batch({"input_ids": target}, {TARGET: target, POLICY: old, SAMPLED: old})
        return MiniLlm(whiten=False).forward(LossInputs(batch, z_s[rows], z_t[rows], None, row_targets=y)).item()

    first, second = torch.tensor([[1, 2, 3]]), torch.tensor([[4, 5]])
    both = torch.tensor([[-100, 1, 2, 3, -100], [4, 5, -100, -100, -100]])
    mean = (3 * loss(first, slice(0, 3)) + 2 * loss(second, slice(3, 5))) / 5
    assert loss(both, slice(0, 5)) == pytest.approx(mean, rel=1e-5)
