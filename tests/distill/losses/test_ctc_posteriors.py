"""The loss on CTC posteriors: identities, blanks, and spikes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from compress.distill.losses.ctc_posteriors import CtcPosteriors, ctc_posteriors
from compress.distill.losses.response import response


def logits(seed: int, frames: int = 12) -> torch.Tensor:
    return torch.randn(frames, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


def test_it_is_the_response_loss_where_blanks_count_as_characters() -> None:
    z_s, z_t = logits(0), logits(1)
    ours = ctc_posteriors(z_s, z_t, kind="frames", T=2.0, blank_weight=1.0)
    torch.testing.assert_close(ours, response(z_s, z_t, T=2.0))


def test_the_mean_is_that_over_the_spikes_without_blanks() -> None:
    z_s, z_t = logits(2), logits(3)
    spikes = z_t.argmax(1) != 0
    assert 0 < spikes.sum() < len(spikes)
    own = ctc_posteriors(z_s, z_t, kind="frames", blank_weight=0.0)
    torch.testing.assert_close(own.mean(), response(z_s, z_t, T=1.0)[spikes].mean())
    guided = ctc_posteriors(z_s, z_t, kind="guided", blank_weight=0.0).mean()
    torch.testing.assert_close(guided, F.cross_entropy(z_s[spikes], z_t[spikes].argmax(1)))


def test_equal_networks_have_no_loss_and_blanks_alone_neither() -> None:
    z = logits(4)
    assert ctc_posteriors(z, z, kind="frames").abs().max() == 0
    blank = torch.zeros(3, 5).index_fill(1, torch.tensor([0]), 9.0)
    assert ctc_posteriors(torch.zeros(3, 5), blank, kind="frames", blank_weight=0.0).tolist() == [0.0] * 3


@pytest.mark.parametrize("kind", ["frames", "guided"])
def test_the_gradient_is_right(kind: str) -> None:
    z_t = logits(5)
    weights = torch.randn(12, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda z: (weights * ctc_posteriors(z, z_t, kind=kind, T=1.5)).sum(), logits(6).requires_grad_()
    )


def test_it_is_for_tasks_with_a_blank() -> None:
    assert CtcPosteriors().requires == ("blank_class",)
