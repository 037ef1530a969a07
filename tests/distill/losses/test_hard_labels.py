"""The term on hard labels: samples without a label, and the warm-up of its weight."""

import pytest
import torch

from compress.distill.losses.hard_labels import HardLabels
from tests.distill.losses.logit_checks import (
    N,
    loss_inputs,
)


def test_samples_without_a_label_do_not_count():
    targets = torch.tensor([0, 1, -1, -1, 2, 3, -1])
    labelled = targets >= 0
    inputs = loss_inputs(targets)
    expected = torch.nn.functional.cross_entropy(inputs.student_logits[labelled], targets[labelled])
    torch.testing.assert_close(HardLabels().forward(inputs), expected)
    assert float(HardLabels().forward(loss_inputs(torch.full((N,), -1)))) == 0.0


def test_the_weight_of_a_term_rises_over_its_warm_up():
    term = HardLabels(weight=0.8, warmup=0.5)
    assert [term.weight_at(p) for p in (0.0, 0.25, 0.5, 0.9)] == pytest.approx([0.0, 0.4, 0.8, 0.8])
    assert HardLabels(weight=0.8).weight_at(0.0) == 0.8
