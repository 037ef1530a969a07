"""Checks that all losses on logits have in common."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from compress.core.registry import lookup
from compress.data.batch import Batch
from compress.tasks.classification import Classification
from compress.train.loss_term import LossInputs

N, K = 7, 5

formula_cases = pytest.mark.parametrize(("temperature", "seed"), [(T, seed) for T in (0.7, 1.0, 4.0) for seed in (0, 1)])
"""Temperatures and seeds at which a loss is compared with its formula."""


def logits(seed, scale=2.0):
    """Logits of student and teacher in float64, (N, K), and classes, (N,)."""
    generator = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(2, N, K, generator=generator, dtype=torch.float64)
    return z[0], z[1], torch.randint(K, (N,), generator=generator)


def loss_inputs(targets, sample_weights=None, temperature=None):
    """Inputs of a term with logits in float32."""
    z_s, z_t, _ = logits(10)
    z_s, z_t, batch = z_s.float(), z_t.float(), Batch.of(torch.zeros(N, 1), targets)
    return LossInputs(batch, z_s, z_t, Classification(), sample_weights=sample_weights, temperature=temperature)


def check_formula(loss, reference, temperature, seed):
    """Each sample's loss equals the reference, in float32 and float64, with one temperature and with one per sample."""
    z_s, z_t, y = logits(seed)
    expected = [reference(s.tolist(), t.tolist(), int(k), temperature) for s, t, k in zip(z_s, z_t, y, strict=True)]
    np.testing.assert_allclose(loss(z_s.float(), z_t.float(), y, temperature).numpy(), expected, rtol=1e-5, atol=1e-5)
    temperatures = torch.full((N,), temperature, dtype=torch.float64)
    np.testing.assert_allclose(loss(z_s, z_t, y, temperatures).numpy(), expected, rtol=1e-9, atol=1e-9)


def check_agreement(loss):
    """A student with the teacher's logits, up to a constant, has neither loss nor gradient."""
    _, z_t, y = logits(4)
    z_s = (z_t + 2.0).requires_grad_()
    value = loss(z_s, z_t, y)
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-9)
    assert float(z_s.grad.abs().max()) < 1e-8


def check_mean(name):
    """A term is the mean of its samples, weighted where there are weights."""
    term = lookup("loss", name).load()()
    targets = torch.arange(N) % K
    per_sample = term.per_sample(loss_inputs(targets))
    assert per_sample.shape == (N,)
    torch.testing.assert_close(term.forward(loss_inputs(targets)), per_sample.mean())
    weights = torch.arange(N, dtype=torch.float32)
    torch.testing.assert_close(term.forward(loss_inputs(targets, weights)), (weights * per_sample).mean())


def check_curriculum_temperature(name):
    """The temperature of a curriculum replaces that of the term."""
    kind = lookup("loss", name).load()
    targets = torch.arange(N) % K
    value = kind(temperature=9.0).forward(loss_inputs(targets, temperature=torch.full((N,), 3.0)))
    torch.testing.assert_close(value, kind(temperature=3.0).forward(loss_inputs(targets)))


def check_temperature_is_positive(name):
    """A temperature of 0 or less is refused."""
    for value in (0.0, -1.0):
        with pytest.raises(ValidationError, match="greater than 0"):
            lookup("loss", name).load()(temperature=value)


def check_unlabelled(name):
    """Samples without a label have loss 0, the others a loss above 0."""
    targets = torch.tensor([0, 1, -1, -1, 2, 3, -1])
    labelled = targets >= 0
    per_sample = lookup("loss", name).load()().per_sample(loss_inputs(targets))
    assert bool((per_sample[~labelled] == 0).all())
    assert bool((per_sample[labelled] > 0).all())
