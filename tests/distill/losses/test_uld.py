"""Universal logit distillation: identities of the distance and of the chain rule."""

import math

import pytest
import torch

from compress.data.batch import TARGET, Batch
from compress.distill.losses.uld import UniversalLogit, merge_groups, sorted_distance
from compress.train.loss_term import LossInputs

DRAW = torch.Generator().manual_seed(0)


def log_probs(rows, size):
    return torch.randn(rows, size, generator=DRAW, dtype=torch.float64).log_softmax(1)


def test_the_distance_is_that_of_scipy_between_sorted_probabilities_and_knows_no_names_of_tokens():
    p, q = log_probs(5, 7).exp(), log_probs(5, 4).exp()
    by_hand = [
        sum(abs(a - b) for a, b in zip(sorted(one, reverse=True), [*sorted(other, reverse=True), 0, 0, 0], strict=True))
        for one, other in zip(p.tolist(), q.tolist(), strict=True)
    ]
    assert sorted_distance(p, q).tolist() == pytest.approx(by_hand)
    assert sorted_distance(p, p[:, torch.randperm(7, generator=DRAW)]).abs().max() < 1e-12
    assert torch.allclose(sorted_distance(p, q), sorted_distance(q, p))
    assert float(sorted_distance(torch.eye(3)[:1], torch.full((1, 3), 1 / 3))) == pytest.approx(4 / 3)


def test_merged_tokens_keep_the_probability_of_the_text_and_their_sum_is_that_of_the_later_ones():
    log_p, tokens = log_probs(6, 5), torch.tensor([1, 4, 0, 2, 3, 3])
    groups = torch.tensor([0, 0, 1, 2, 2, 2])
    merged = merge_groups(log_p, tokens, groups)
    chosen = log_p.gather(1, tokens[:, None])[:, 0]
    first = torch.tensor([0, 2, 3])
    assert math.isclose(float(merged.gather(1, tokens[first][:, None]).sum()), float(chosen.sum()))
    assert torch.allclose(merged.logsumexp(1), torch.stack([chosen[1], torch.zeros(()).double(), chosen[4] + chosen[5]]))
    assert torch.equal(merge_groups(log_p, tokens, torch.arange(6)), log_p)


def inputs_of(z_s, z_t, targets):
    y = torch.tensor(targets)
    known = y >= 0
    return LossInputs(Batch({"input_ids": y}, {TARGET: y}), z_s, z_t, None, row_targets=y[known])


def test_groups_are_the_rows_from_one_of_the_teachers_to_the_next_of_a_text():
    z_s = torch.randn(5, 6, generator=DRAW, dtype=torch.float64, requires_grad=True)
    z_t = torch.full((5, 4), torch.nan, dtype=torch.float64)
    z_t[1], z_t[4] = log_probs(2, 4)
    loss = UniversalLogit().forward(inputs_of(z_s, z_t, [[-100, 2, 1, 3], [5, 0, -100, -100]]))
    log_p = z_s.log_softmax(1)
    expected = [
        sorted_distance((log_p[1] + log_p[2, 3])[None].exp(), z_t[1:2].exp()),
        sorted_distance(log_p[4:].exp(), z_t[4:].exp()),
    ]
    assert loss.item() == pytest.approx(sum(expected).item() / 2)
    loss.backward()
    assert float(z_s.grad[0].abs().sum()) == float(z_s.grad[3].abs().sum()) == 0.0
    assert float(z_s.grad[2].abs().sum()) > 0


def test_a_student_that_is_the_teacher_has_no_loss_and_no_group_gives_none():
    z = torch.randn(3, 6, generator=DRAW)
    targets = [[1, 2, 3]]
    assert float(UniversalLogit().forward(inputs_of(z, z.log_softmax(1), targets))) == pytest.approx(0.0, abs=1e-6)
    assert float(UniversalLogit().forward(inputs_of(z, torch.full((3, 4), torch.nan), targets))) == 0.0
    ended = z.log_softmax(1).clone()
    ended[1], ended[2] = torch.inf, torch.nan
    other = torch.randn(3, 6, generator=DRAW)
    expected = sorted_distance(other[:1].softmax(1), z[:1].softmax(1))
    assert float(UniversalLogit().forward(inputs_of(other, ended, targets))) == pytest.approx(float(expected))
