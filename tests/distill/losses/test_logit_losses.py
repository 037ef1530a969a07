"""Losses on logits against the formulas in float64, written sample by sample and class by class."""
# ruff: noqa: ARG005 - losses with different needs are called alike

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from compress.core.registry import lookup
from compress.data.interface import Batch
from compress.distill.losses.dist import dist
from compress.distill.losses.dkd import dkd
from compress.distill.losses.hard_labels import HardLabels
from compress.distill.losses.jensen_shannon import jensen_shannon
from compress.distill.losses.label_smoothing import label_smoothing
from compress.distill.losses.logit_standardization import standardized_response
from compress.distill.losses.response import response
from compress.distill.losses.reverse_kl import reverse_kl
from compress.distill.losses.soft_labels import soft_labels
from compress.distill.losses.virtual_teacher import virtual_teacher
from compress.tasks.classification import Classification
from compress.train.loss_term import LossInputs

N, K = 7, 5


def softmax(z):
    shifted = [math.exp(v - max(z)) for v in z]
    return [v / sum(shifted) for v in shifted]


def kl(p, q):
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))


def soft(z, temperature):
    return softmax([v / temperature for v in z])


def reference_reverse(s, t, y, T):
    return T * T * kl(soft(s, T), soft(t, T))


def reference_jensen_shannon(s, t, y, T, beta=0.3):
    p_s, p_t = soft(s, T), soft(t, T)
    m = [beta * b + (1 - beta) * a for a, b in zip(p_s, p_t, strict=True)]
    return T * T * (beta * kl(p_t, m) + (1 - beta) * kl(p_s, m))


def reference_decoupled(s, t, y, T, alpha=1.5, beta=4.0):
    p_s, p_t = soft(s, T), soft(t, T)
    binary = kl([p_t[y], 1 - p_t[y]], [p_s[y], 1 - p_s[y]])
    q_s, q_t = ([v / (1 - p[y]) for k, v in enumerate(p) if k != y] for p in (p_s, p_t))
    return T * T * (alpha * binary + beta * kl(q_t, q_s))


def reference_standardised(s, t, y, T):
    z_s, z_t = ([(v - np.mean(z)) / (np.std(z) + 1e-7) for v in z] for z in (s, t))
    return T * T * kl(soft(z_t, T), soft(z_s, T))


def reference_soft_labels(s, t, y, T):
    return -T * T * sum(a * math.log(b) for a, b in zip(soft(t, T), soft(s, T), strict=True))


def reference_label_smoothing(s, t, y, T):
    return -sum((0.9 * (k == y) + 0.1 / K) * math.log(p) for k, p in enumerate(softmax(s)))


def reference_virtual_teacher(s, t, y, T):
    made_up = [0.9 if k == y else 0.1 / (K - 1) for k in range(K)]
    powered = [p ** (1 / T) for p in made_up]
    return T * T * kl([p / sum(powered) for p in powered], soft(s, T))


EACH = {
    "reverse": (lambda s, t, y, T: reverse_kl(s, t, T=T), reference_reverse),
    "jensen_shannon": (lambda s, t, y, T: jensen_shannon(s, t, beta=0.3, T=T), reference_jensen_shannon),
    "decoupled": (lambda s, t, y, T: dkd(s, t, y, alpha=1.5, beta=4.0, T=T), reference_decoupled),
    "logit_standardization": (lambda s, t, y, T: standardized_response(s, t, T=T), reference_standardised),
    "soft_labels": (lambda s, t, y, T: soft_labels(s, t, T=T), reference_soft_labels),
    "label_smoothing": (lambda s, t, y, T: label_smoothing(s, y, epsilon=0.1), reference_label_smoothing),
    "virtual_teacher": (lambda s, t, y, T: virtual_teacher(s, y, a=0.9, T=T), reference_virtual_teacher),
}


def logits(seed, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(2, N, K, generator=generator, dtype=torch.float64)
    return z[0], z[1], torch.randint(K, (N,), generator=generator)


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("temperature", [0.7, 1.0, 4.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_each_sample_equals_the_formula(name, temperature, seed):
    loss, reference = EACH[name]
    z_s, z_t, y = logits(seed)
    expected = [reference(s.tolist(), t.tolist(), int(k), temperature) for s, t, k in zip(z_s, z_t, y, strict=True)]
    np.testing.assert_allclose(loss(z_s.float(), z_t.float(), y, temperature).numpy(), expected, rtol=1e-5, atol=1e-5)
    each = torch.full((N,), temperature, dtype=torch.float64)
    np.testing.assert_allclose(loss(z_s, z_t, y, each).numpy(), expected, rtol=1e-9, atol=1e-9)


def reference_dist(z_s, z_t, temperature, beta, gamma):
    p_s, p_t = (np.array([soft(row, temperature) for row in z.tolist()]) for z in (z_s, z_t))
    inter = np.mean([np.corrcoef(p_s[n], p_t[n])[0, 1] for n in range(N)])
    intra = np.mean([np.corrcoef(p_s[:, k], p_t[:, k])[0, 1] for k in range(K)])
    return temperature**2 * (beta * (1 - inter) + gamma * (1 - intra))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dist_equals_the_formula(temperature):
    z_s, z_t, _ = logits(3)
    found = dist(z_s.float(), z_t.float(), beta=2.0, gamma=0.5, T=temperature)
    assert float(found) == pytest.approx(reference_dist(z_s, z_t, temperature, 2.0, 0.5), abs=1e-5)


AGREE = {
    "response": lambda s, t, y: response(s, t, T=3.0).mean(),
    "reverse": lambda s, t, y: reverse_kl(s, t, T=3.0).mean(),
    "jensen_shannon": lambda s, t, y: jensen_shannon(s, t, beta=0.3, T=3.0).mean(),
    "decoupled": lambda s, t, y: dkd(s, t, y, alpha=1.0, beta=8.0, T=3.0).mean(),
    "dist": lambda s, t, y: dist(s, t, beta=1.0, gamma=1.0, T=3.0),
    "logit_standardization": lambda s, t, y: standardized_response(s, t, T=3.0).mean(),
}


@pytest.mark.parametrize("name", AGREE)
def test_a_student_that_agrees_has_no_loss_and_no_gradient(name):
    _, z_t, y = logits(4)
    z_s = (z_t + 2.0).requires_grad_()  # a constant on all logits changes no answer
    loss = AGREE[name](z_s, z_t, y)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-9)
    assert float(z_s.grad.abs().max()) < 1e-8


def test_soft_labels_of_a_student_that_agrees_are_the_entropy_without_gradient():
    _, z_t, _ = logits(4)
    z_s = z_t.clone().requires_grad_()
    loss = soft_labels(z_s, z_t, T=2.0)
    loss.mean().backward()
    entropy = [-4 * sum(p * math.log(p) for p in soft(row, 2.0)) for row in z_t.tolist()]
    np.testing.assert_allclose(loss.detach().numpy(), entropy)
    assert float(z_s.grad.abs().max()) < 1e-12


def test_soft_labels_have_the_gradient_of_response():
    z_s, z_t, _ = logits(5)
    grads = []
    for loss in (response, soft_labels):
        z = z_s.clone().requires_grad_()
        loss(z, z_t, T=2.0).sum().backward()
        grads.append(z.grad)
    torch.testing.assert_close(grads[0], grads[1])


def test_the_divergences_meet_at_the_ends_of_beta():
    z_s, z_t, _ = logits(6, scale=0.5)
    forward, backward = response(z_s, z_t, T=1.0), reverse_kl(z_s, z_t, T=1.0)
    torch.testing.assert_close(jensen_shannon(z_s, z_t, beta=1e-6, T=1.0) / 1e-6, forward, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(jensen_shannon(z_s, z_t, beta=1 - 1e-6, T=1.0) / 1e-6, backward, rtol=1e-3, atol=1e-6)


def test_decoupled_with_the_papers_weights_is_response():
    z_s, z_t, y = logits(7)
    p_t = (z_t / 2).softmax(1).gather(1, y.unsqueeze(1)).squeeze(1)
    parts = [dkd(z_s, z_t, y, alpha=a, beta=1.0 - a, T=2.0) for a in (1.0, 0.0)]
    torch.testing.assert_close(parts[0] + (1 - p_t) * parts[1], response(z_s, z_t, T=2.0))


def test_dist_does_not_mind_an_affine_change_of_the_probabilities():
    p_t = torch.rand(N, K, dtype=torch.float64)
    p_t /= p_t.sum(1, keepdim=True)
    p_s = 0.5 * p_t + 0.5 / K
    assert float(dist(p_s.log(), p_t.log(), beta=1.0, gamma=1.0, T=1.0)) == pytest.approx(0.0, abs=1e-12)


def test_standardised_does_not_mind_the_size_of_the_logits():
    z_s, z_t, _ = logits(8)
    torch.testing.assert_close(
        standardized_response(10 * z_s + 3, z_t, T=2.0), standardized_response(z_s, z_t, T=2.0), rtol=1e-5, atol=1e-7
    )


def test_the_virtual_teacher_is_content_with_its_own_answers():
    _, _, y = logits(9)
    made_up = torch.full((N, K), 0.1 / (K - 1)).scatter(1, y.unsqueeze(1), 0.9).log()
    torch.testing.assert_close(virtual_teacher(made_up, y, a=0.9, T=20.0), torch.zeros(N), atol=1e-4, rtol=0)


def answers(targets, importance=None, temperature=None):
    z_s, z_t, _ = logits(10)
    z_s, z_t = z_s.float(), z_t.float()
    return LossInputs(
        Batch(torch.zeros(N, 1), targets), z_s, z_t, Classification(), sample_weights=importance, temperature=temperature
    )


NAMES = [
    "response",
    "reverse",
    "jensen_shannon",
    "decoupled",
    "logit_standardization",
    "soft_labels",
    "label_smoothing",
    "virtual_teacher",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_term_is_the_mean_of_its_samples_weighted_where_they_are(name):
    term = lookup("loss", name).load()()
    targets = torch.arange(N) % K
    each = term.per_sample(answers(targets))
    assert each.shape == (N,)
    torch.testing.assert_close(term.forward(answers(targets)), each.mean())
    importance = torch.arange(N, dtype=torch.float32)
    torch.testing.assert_close(term.forward(answers(targets, importance)), (importance * each).mean())


@pytest.mark.parametrize("name", ["response", "reverse", "jensen_shannon", "decoupled", "logit_standardization", "soft_labels"])
def test_a_temperature_of_the_curriculum_takes_the_place_of_the_terms_own(name):
    kind = lookup("loss", name).load()
    targets = torch.arange(N) % K
    found = kind(temperature=9.0).forward(answers(targets, temperature=torch.full((N,), 3.0)))
    torch.testing.assert_close(found, kind(temperature=3.0).forward(answers(targets)))


def test_samples_without_a_label_do_not_count_in_what_needs_labels():
    targets = torch.tensor([0, 1, -1, -1, 2, 3, -1])
    labelled = targets >= 0
    given = answers(targets)
    expected = torch.nn.functional.cross_entropy(given.student_logits[labelled], targets[labelled])
    torch.testing.assert_close(HardLabels().forward(given), expected)
    for name in ("label_smoothing", "virtual_teacher"):
        each = lookup("loss", name).load()().per_sample(given)
        assert bool((each[~labelled] == 0).all())
        assert bool((each[labelled] > 0).all())
    none = answers(torch.full((N,), -1))
    assert float(HardLabels().forward(none)) == 0.0
    assert bool(torch.isfinite(lookup("loss", "decoupled").load()().forward(none)))


def test_the_factor_of_a_term_rises_over_its_warm_up():
    term = HardLabels(weight=0.8, warmup=0.5)
    assert [term.weight_at(p) for p in (0.0, 0.25, 0.5, 0.9)] == pytest.approx([0.0, 0.4, 0.8, 0.8])
    assert HardLabels(weight=0.8).weight_at(0.0) == 0.8


@pytest.mark.parametrize(
    "name", ["response", "reverse", "jensen_shannon", "decoupled", "dist", "logit_standardization", "soft_labels"]
)
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_temperature_of_nought_or_less_is_refused(name, value):
    with pytest.raises(ValidationError, match="greater than 0"):
        lookup("loss", name).load()(temperature=value)
