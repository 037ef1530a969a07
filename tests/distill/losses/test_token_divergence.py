"""Divergences of next-token distributions against their formulas in float64, and their identities."""

# ruff: noqa: ARG005 - losses with different inputs are called alike

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from compress.core.registry import lookup
from compress.distill.losses.jensen_shannon import jensen_shannon
from compress.distill.losses.token_divergence import interpolated_kl, log_mixture, merge_rest, token_divergence
from tests import reference as ref
from tests.distill.losses.logit_checks import (
    check_agreement,
    check_curriculum_temperature,
    check_formula,
    check_mean,
    check_temperature_is_positive,
    logits,
)

KINDS = ("forward", "reverse", "jensen_shannon", "skew", "reverse_skew", "total_variation", "gkd", "adaptive")
ALPHA, BETA = 0.1, 0.3


def mixed(p, q, weight):
    return [weight * a + (1 - weight) * b for a, b in zip(p, q, strict=True)]


def share_of_head(s, t):
    """a of `adaptive`: the gap of the likeliest classes, which have half of the teacher's probability, over the whole gap."""
    gaps, head, before = [abs(a - b) for a, b in zip(s, t, strict=True)], 0.0, 0.0
    for place in sorted(range(len(t)), key=lambda index: -t[index]):
        head += gaps[place] if before < 0.5 else 0.0
        before += t[place]
    return head / sum(gaps) if sum(gaps) else 0.0


FORMULAS = {
    "forward": lambda s, t: ref.kl_divergence(t, s),
    "reverse": lambda s, t: ref.kl_divergence(s, t),
    "jensen_shannon": lambda s, t: (
        (1 - BETA) * ref.kl_divergence(t, mixed(t, s, BETA)) + BETA * ref.kl_divergence(s, mixed(t, s, BETA))
    ),
    "skew": lambda s, t: ref.kl_divergence(t, mixed(t, s, ALPHA)),
    "reverse_skew": lambda s, t: ref.kl_divergence(s, mixed(s, t, ALPHA)),
    "total_variation": lambda s, t: sum(abs(a - b) for a, b in zip(s, t, strict=True)) / 2,
    "gkd": lambda s, t: BETA * ref.kl_divergence(t, mixed(t, s, BETA)) + (1 - BETA) * ref.kl_divergence(s, mixed(t, s, BETA)),
    "adaptive": lambda s, t: (
        share_of_head(s, t) * ref.kl_divergence(t, s) + (1 - share_of_head(s, t)) * ref.kl_divergence(s, t)
    ),
}


def divergence(kind, s, t, T=1.0, **options):
    return token_divergence(s, t, kind=kind, T=T, **{"alpha": ALPHA, "beta": BETA, **options})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.7, 1.0, 4.0])
def test_each_row_equals_the_formula(kind, temperature):
    check_formula(
        lambda s, t, y, T: divergence(kind, s, t, T),
        lambda s, t, y, T: T * T * FORMULAS[kind](ref.softmax(s, T), ref.softmax(t, T)),
        temperature,
        seed=0,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_equal_probabilities_have_no_loss_and_a_shift_of_the_logits_changes_nothing(kind):
    if kind != "total_variation":  # its gradient is not defined there
        check_agreement(lambda s, t, y: divergence(kind, s, t).mean())
    s, t, _ = logits(3)
    shift = torch.arange(len(s), dtype=s.dtype)[:, None]
    assert float(divergence(kind, t + 5.0, t).max()) == pytest.approx(0.0, abs=1e-12)
    torch.testing.assert_close(divergence(kind, s + shift, t - 2 * shift), divergence(kind, s, t))
    assert bool((divergence(kind, s, t) > 0).all())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_formula_of_probabilities(kind):
    s, t, _ = logits(5)
    s.requires_grad_()
    (own,) = torch.autograd.grad(divergence(kind, s, t).sum(), s)
    p, q = s.softmax(1), t.softmax(1)
    m = {"jensen_shannon": BETA * q + (1 - BETA) * p, "skew": ALPHA * q + (1 - ALPHA) * p}
    middle = BETA * q + (1 - BETA) * p
    shares = torch.tensor([share_of_head(*rows) for rows in zip(p.tolist(), q.tolist(), strict=True)], dtype=p.dtype)
    naive = {
        "forward": lambda: (q * (q / p).log()).sum(),
        "reverse": lambda: (p * (p / q).log()).sum(),
        "jensen_shannon": lambda: ((1 - BETA) * q * (q / m[kind]).log()).sum() + (BETA * p * (p / m[kind]).log()).sum(),
        "skew": lambda: (q * (q / m[kind]).log()).sum(),
        "reverse_skew": lambda: (p * (p / (ALPHA * p + (1 - ALPHA) * q)).log()).sum(),
        "total_variation": lambda: (p - q).abs().sum() / 2,
        "gkd": lambda: (BETA * q * (q / middle).log()).sum() + ((1 - BETA) * p * (p / middle).log()).sum(),
        "adaptive": lambda: (shares * (q * (q / p).log()).sum(1) + (1 - shares) * (p * (p / q).log()).sum(1)).sum(),
    }
    (expected,) = torch.autograd.grad(naive[kind](), s)
    torch.testing.assert_close(own, expected, rtol=1e-9, atol=1e-12)


def test_jensen_shannon_is_continuous_up_to_forward_and_reverse():
    s, t, _ = logits(1)
    for beta, kind in ((0.0, "forward"), (1.0, "reverse")):
        end = divergence(kind, s, t)
        torch.testing.assert_close(divergence("jensen_shannon", s, t, beta=beta), end)
        near = divergence("jensen_shannon", s, t, beta=abs(beta - 1e-7))
        torch.testing.assert_close(near, end, rtol=1e-4, atol=1e-6)
        paper = jensen_shannon(s, t, beta=abs(beta - 1e-7), T=1.0)
        assert float(paper.max()) < 1e-4
    torch.testing.assert_close(divergence("jensen_shannon", s, t, beta=0.5), jensen_shannon(s, t, beta=0.5, T=1.0))


def test_the_papers_form_goes_to_0_between_and_is_plain_at_the_ends():
    s, t, _ = logits(2)
    small, smaller = (divergence("gkd", s, t, beta=beta) for beta in (1e-3, 1e-4))
    assert bool((smaller < 0.2 * small).all())
    torch.testing.assert_close(divergence("gkd", s, t, beta=0.0), divergence("forward", s, t))
    torch.testing.assert_close(divergence("gkd", s, t, beta=1.0), divergence("reverse", s, t))
    torch.testing.assert_close(divergence("gkd", s, t, beta=0.5), divergence("jensen_shannon", s, t, beta=0.5))


def test_skew_divergences_are_plain_ones_without_skew_and_bounded_with_it():
    s, t, _ = logits(2, scale=40.0)
    for kind, plain in (("skew", "forward"), ("reverse_skew", "reverse")):
        torch.testing.assert_close(divergence(kind, s, t, alpha=0.0), divergence(plain, s, t))
        assert float(divergence(kind, s, t).max()) <= -math.log(ALPHA) + 1e-9
    assert float(divergence("forward", s, t).max()) > 10


def test_total_variation_is_symmetric_and_at_most_1():
    s, t, _ = logits(2, scale=40.0)
    values = divergence("total_variation", s, t)
    torch.testing.assert_close(values, divergence("total_variation", t, s))
    assert 0 <= float(values.min()) <= float(values.max()) <= 1 + 1e-12
    assert float(values.max()) > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_the_rest_as_one_class_is_that_of_summed_probabilities(kind):
    s, t, _ = logits(6)
    top = t.topk(2, dim=1).indices
    sums = []
    for z in (s, t):
        kept = z.softmax(1).gather(1, top)
        sums.append(torch.cat([kept, 1 - kept.sum(1, keepdim=True)], 1).log())
    torch.testing.assert_close(divergence(kind, s, t, top=2), divergence(kind, *sums))
    if kind != "adaptive":  # its shares change
        assert bool((divergence(kind, s, t, top=2) <= divergence(kind, s, t) + 1e-12).all())
    torch.testing.assert_close(divergence(kind, s, t, top=5), divergence(kind, s, t))
    assert merge_rest(s.log_softmax(1), t.log_softmax(1), 2)[0].shape == (len(s), 3)


@pytest.mark.parametrize("kind", KINDS)
def test_sharp_logits_in_half_precision_have_finite_losses_and_gradients(kind):
    generator = torch.Generator().manual_seed(0)
    s, t = (60 * torch.randn(2, 4, 1000, generator=generator)).bfloat16()
    s.requires_grad_()
    values = divergence(kind, s, t, top=50)
    values.sum().backward()
    assert values.dtype == torch.float32
    assert bool(values.isfinite().all())
    assert bool((values >= -1e-6).all())
    assert bool(s.grad.isfinite().all())


def test_a_mixture_is_that_of_probabilities():
    s, t, _ = logits(7)
    mixture = log_mixture(t.log_softmax(1), s.log_softmax(1), 0.2).exp()
    np.testing.assert_allclose(mixture, 0.2 * t.softmax(1) + 0.8 * s.softmax(1))
    log_p = s.log_softmax(1)
    assert float(interpolated_kl(log_p, log_p, 0.4).abs().max()) < 1e-12


def test_the_term_is_the_mean_of_its_rows_and_takes_the_temperature_of_a_curriculum():
    check_mean("token_divergence")
    check_curriculum_temperature("token_divergence")
    check_temperature_is_positive("token_divergence")


@pytest.mark.parametrize("options", [{"kind": "jsd"}, {"alpha": 1.0}, {"beta": 1.5}, {"top": 0}])
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(ValidationError):
        lookup("loss", "token_divergence").load()(**options)
