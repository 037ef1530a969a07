"""GradNorm against the formulas in float64, and what it promises."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from compress.core.registry_field import name_of
from compress.core.sentences import render
from compress.distill.losses.contrastive import Contrastive
from compress.distill.losses.hard_labels import HardLabels
from compress.distill.losses.response import Response
from compress.tasks.classification import Classification
from compress.train.curriculum.loss_balancing import RATE, GradNorm, UncertaintyWeighting, gradnorm_update
from compress.train.curriculum.settings import Curriculum
from compress.train.teachers.cached_logits import CachedTeacher
from compress.train.teachers.logit_shards import LogitFolder
from tests.train.toy_training import SETTINGS, conv_net, toy_data, train


@pytest.mark.parametrize("alpha", [0.0, 0.12, 1.5])
def test_a_turn_equals_the_formulas(alpha):
    w, g, losses, first = [1.2, 0.5, 1.3], [3.0, 0.2, 7.0], [0.5, 2.0, 0.0], [1.0, 1.5, 4.0]
    size = [a * b for a, b in zip(w, g, strict=True)]
    mean = sum(size) / 3
    left = [a / b for a, b in zip(losses, first, strict=True)]
    behind = [value / (sum(left) / 3) for value in left]

    def objective(log_w):
        aims = [mean * r**alpha for r in behind]
        return sum(abs(math.exp(v) * b - aim) for v, b, aim in zip(log_w, g, aims, strict=True))

    log_w = [math.log(value) for value in w]
    steps = []
    for i in range(3):
        up, down = ([v + (e if i == j else 0.0) for j, v in enumerate(log_w)] for e in (1e-6, -1e-6))
        steps.append(math.exp(log_w[i] - 0.025 * (objective(up) - objective(down)) / 2e-6 / mean))
    expected = [3 * value / sum(steps) for value in steps]
    result = gradnorm_update(*(torch.tensor(x) for x in (w, g, losses, first)), alpha=alpha, rate=RATE)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_without_a_pull_the_gradients_become_equally_long():
    g, losses = torch.tensor([100.0, 1.0, 5.0]), torch.tensor([1.0, 2.0, 3.0])
    w = torch.ones(3)
    for _ in range(500):
        w = gradnorm_update(w, g, losses, losses, alpha=0.0, rate=RATE)
    norms = w * g
    assert float(w.sum()) == pytest.approx(3.0, abs=1e-5)
    assert float(norms.max() / norms.min()) < 1.2


def test_a_loss_that_falls_behind_weighs_more():
    g, first = torch.ones(2), torch.ones(2)
    w = gradnorm_update(torch.ones(2), g, torch.tensor([0.9, 0.1]), first, alpha=1.5, rate=RATE)
    assert float(w[0]) > 1.0 > float(w[1])


@pytest.mark.parametrize(("g", "losses"), [([0.0, 0.0], [1.0, 1.0]), ([1.0, math.inf], [1.0, 1.0])])
def test_without_a_gradient_the_weights_stay(g, losses):
    w = torch.tensor([0.5, 1.5])
    assert torch.equal(gradnorm_update(w, torch.tensor(g), torch.tensor(losses), torch.ones(2), alpha=1.5, rate=RATE), w)


def test_a_loss_that_began_at_nothing_is_neither_ahead_nor_behind():
    given = (torch.ones(2), torch.ones(2), torch.tensor([3.0, 1.0]), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(gradnorm_update(*given, alpha=1.5, rate=RATE), torch.ones(2))


def test_the_norms_are_taken_at_the_last_weight_that_every_loss_reaches():
    body, head = nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False)
    network = nn.Sequential(body, head)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    hidden = body(x)
    logit_loss, features = head(hidden).square().mean(), hidden.square().mean()
    expected = [torch.autograd.grad(loss, body.weight, retain_graph=True)[0].norm() for loss in (logit_loss, features)]
    balancer = GradNorm(2, network, 0.0)
    norms, values = balancer._norms({0: logit_loss, 1: features})
    torch.testing.assert_close(norms, torch.stack(expected))
    torch.testing.assert_close(values, torch.stack([logit_loss.detach(), features.detach()]))
    norms, _ = balancer._norms({0: logit_loss})
    torch.testing.assert_close(norms[0], torch.autograd.grad(logit_loss, head.weight, retain_graph=True)[0].norm())
    assert not list(balancer.parameters())


def test_a_loss_that_is_not_there_yet_keeps_its_weight_and_one_alone_too():
    network = nn.Linear(4, 3)
    losses = [network(torch.ones(2, 4)).square().mean() * scale for scale in (1.0, 50.0, 3.0)]
    balancer = GradNorm(3, network, 0.0)
    balancer({1: losses[1]})
    assert balancer.weights() == [1.0, 1.0, 1.0]
    weighted = balancer({0: losses[0], 1: losses[1]})
    torch.testing.assert_close(torch.stack(list(weighted.values())), torch.stack(losses[:2]))
    first, second, third = balancer.weights()
    assert first > 1.0 > second
    assert third == 1.0


@pytest.mark.parametrize("terms", [(HardLabels(weight=0.5), Response()), (HardLabels(), Contrastive(width=8), Response())])
def test_the_record_says_what_weights_were_found(tmp_path, terms):
    data = toy_data()
    teacher = CachedTeacher(
        [conv_net(7)], data.train, Classification(), key="t", cache=LogitFolder(tmp_path / "cache"), device="cpu"
    )
    settings = SETTINGS.model_copy(update={"epochs": 2})
    curriculum = Curriculum(balance="gradient_norm")
    history = train(conv_net(), tmp_path, settings, data=data, terms=terms, teacher=teacher, curriculum=curriculum)
    note = history.notes[-1]
    assert (note.code, note.subject) == ("train.loss_factors", "gradient_norm")
    assert note.values["losses"] == tuple(name_of("loss", term) for term in terms)
    assert note.values["weights"] == tuple(term.weight for term in terms)
    assert sum(note.values["factors"]) == pytest.approx(len(terms), abs=1e-4)
    assert render(note).startswith(f"balance `gradient_norm`: final factors task × {terms[0].weight:g} × ")


def test_uncertainty_settles_where_each_loss_weighs_one_over_itself():
    balancer, losses = UncertaintyWeighting(2), (torch.tensor(4.0), torch.tensor(0.5))
    optimizer = torch.optim.SGD(balancer.parameters(), lr=0.2)
    for _ in range(300):
        optimizer.zero_grad()
        torch.stack(list(balancer(dict(enumerate(losses))).values())).sum().backward()
        optimizer.step()
    torch.testing.assert_close(balancer.s.detach().exp(), torch.tensor([4.0, 0.5]), rtol=1e-2, atol=1e-2)
