"""The loss of an exit against its formula in float64."""

import math

import numpy as np
import pytest
import torch

from compress.core.errors import ModelError
from compress.distill.losses.self_distillation_exits import SelfDistillationExits, exit_loss
from compress.train.loss_term import MatchedLayers
from tests import reference as ref
from tests.distill.losses.logit_checks import logits


@pytest.mark.parametrize(("alpha", "temperature"), [(0.0, 1.0), (0.3, 3.0), (1.0, 0.7)])
def test_each_sample_equals_the_formula(alpha, temperature):
    z_b, z, y = logits(0)
    expected = [
        -(1 - alpha) * math.log(ref.softmax(b)[k])
        + alpha * temperature**2 * ref.kl_divergence(ref.softmax(t, temperature), ref.softmax(b, temperature))
        for b, t, k in zip(z_b.tolist(), z.tolist(), y.tolist(), strict=True)
    ]
    np.testing.assert_allclose(exit_loss(z_b, z, y, alpha=alpha, T=temperature).numpy(), expected, rtol=1e-9)


def test_a_sample_without_a_label_has_only_the_divergence():
    z_b, z, y = logits(1)
    torch.testing.assert_close(
        exit_loss(z_b, z, torch.full_like(y, -1), alpha=0.3, T=2.0), 0.3 * exit_loss(z_b, z, y, alpha=1.0, T=2.0)
    )


def test_an_exit_maps_the_channels_of_its_layer_to_the_classes():
    exits = SelfDistillationExits().prepare([MatchedLayers("a", (4, 8, 8), "its own output", (3,), -1)], 0)
    assert [(layer.in_features, layer.out_features) for layer in exits] == [(4, 3)]
    with pytest.raises(ModelError, match="need two layers or more"):
        SelfDistillationExits().prepare([], 0)
