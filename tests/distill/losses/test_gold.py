"""The hybrid loss of GOLD: its ends are two known losses, and it is 0 for equal distributions alone."""

import pytest
import torch

from compress.data.batch import TARGET, Batch
from compress.distill.losses.gold import GeneralLogit, hybrid_distance
from compress.distill.losses.jensen_shannon import jensen_shannon
from compress.distill.losses.uld import UniversalLogit, sorted_distance
from compress.train.loss_term import LossInputs

DRAW = torch.Generator().manual_seed(0)
NONE = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)


def log_probs(rows, size):
    return torch.randn(rows, size, generator=DRAW, dtype=torch.float64).log_softmax(1)


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
def test_with_one_vocabulary_it_is_the_divergence_whatever_the_numbers_of_the_tokens(beta):
    student, teacher, order = log_probs(4, 6), log_probs(4, 6), torch.randperm(6, generator=DRAW)
    expected = jensen_shannon(student, teacher, beta=beta, T=1.0)
    found = hybrid_distance(student, teacher[:, order], (order, torch.arange(6)), beta=beta)
    torch.testing.assert_close(found, expected)


def test_without_a_common_token_it_is_the_distance_by_rank():
    student, teacher = log_probs(4, 6), log_probs(4, 9)
    expected = sorted_distance(student.exp(), teacher.exp())
    torch.testing.assert_close(hybrid_distance(student, teacher, NONE, beta=0.5), expected)


def test_both_parts_by_hand():
    student, teacher = log_probs(3, 4), log_probs(3, 5)
    shared = torch.tensor([3, 0]), torch.tensor([1, 4])
    p = torch.cat([student[:, [3, 0]].exp(), student[:, [1, 2]].exp().sum(1, keepdim=True)], 1)
    q = torch.cat([teacher[:, [1, 4]].exp(), teacher[:, [0, 2, 3]].exp().sum(1, keepdim=True)], 1)
    m = 0.3 * q + 0.7 * p
    divergence = 0.3 * (q * (q / m).log()).sum(1) + 0.7 * (p * (p / m).log()).sum(1)
    rest = sorted_distance(student[:, [1, 2]].exp(), teacher[:, [0, 2, 3]].exp())
    for alpha, share in ((None, 2 / 5), (0.9, 0.9)):
        found = hybrid_distance(student, teacher, shared, beta=0.3, alpha=alpha)
        torch.testing.assert_close(found, share * divergence + (1 - share) * rest)
    assert bool((divergence > 0).all())


def test_it_is_0_where_the_shared_tokens_and_the_ranks_of_the_others_agree():
    teacher = log_probs(3, 5)
    shared = torch.arange(2), torch.arange(2)
    student = teacher[:, [0, 1, 4, 2, 3]]
    loss = hybrid_distance(student, teacher, shared, beta=0.5)
    assert float(loss.abs().max()) < 1e-12
    assert float(hybrid_distance(teacher[:, [1, 0, 2, 3, 4]], teacher, shared, beta=0.5).min()) > 0


def inputs_of(z_s, z_t, shared=None):
    y = torch.tensor([[1, 2, 3]])
    return LossInputs(
        Batch({"input_ids": y}, {TARGET: y}), z_s, z_t, None, row_targets=torch.tensor([1, 2, 3]), shared_classes=shared
    )


def test_groups_are_those_of_uld_and_without_one_there_is_no_loss():
    z_s = torch.randn(3, 6, generator=DRAW, dtype=torch.float64)
    z_t = log_probs(3, 4)
    z_t[1] = torch.nan
    assert float(GeneralLogit().forward(inputs_of(z_s, z_t, NONE))) == pytest.approx(
        float(UniversalLogit().forward(inputs_of(z_s, z_t)))
    )
    z_s.requires_grad_()
    loss = GeneralLogit(alpha=1.0).forward(inputs_of(z_s, z_t, (torch.tensor([0, 5]), torch.tensor([2, 3]))))
    loss.backward()
    assert bool(z_s.grad.isfinite().all())
    assert float(GeneralLogit().forward(inputs_of(z_s.detach(), torch.full((3, 4), torch.nan)))) == 0.0
    same = z_s.detach()
    assert float(GeneralLogit().forward(inputs_of(same, same.log_softmax(1)))) == pytest.approx(0.0, abs=1e-9)
