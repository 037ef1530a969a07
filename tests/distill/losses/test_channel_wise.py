"""Channel-wise distillation against its formula in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.distill.losses.channel_wise import ChannelWise, channel_wise
from compress.tasks.segmentation import Segmentation
from compress.train.features.hooks import capture
from compress.train.features.matched_layers import FeatureMatcher
from compress.train.loss_term import LossInputs
from tests.distill.losses.feature_checks import N, check_agreement, close, draw

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_equals_the_formula(temperature):
    s, t = draw(N, 3, 4, 5), draw(N, 3, 4, 5, seed=1)

    def p(f):
        e = np.exp(f.numpy().reshape(-1) / temperature)
        return e / e.sum()

    expected = [
        temperature**2 * np.mean([(p(t[n, c]) * np.log(p(t[n, c]) / p(s[n, c]))).sum() for c in range(3)]) for n in range(N)
    ]
    close(channel_wise(s.float(), t.float(), T=temperature), expected)


def test_a_student_that_agrees_has_no_loss_and_no_gradient():
    check_agreement(lambda s, t: channel_wise(s, t, T=4.0).mean())


def test_an_offset_of_a_channel_does_not_count_and_a_shifted_map_does():
    t = draw(N, 3, 4, 4)
    assert float(channel_wise(t + torch.arange(3.0)[:, None, None], t, T=1.0).max()) == pytest.approx(0.0, abs=1e-12)
    assert float(channel_wise(t.roll(1, dims=3), t, T=1.0).min()) > 0.01


def network(width, classes=5):
    torch.manual_seed(width)
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, classes, 1))


def loss_of(term, student, teacher):
    matcher = FeatureMatcher((term,), student, [teacher], IMAGES)
    with capture(student, matcher.student_hooks) as ours, capture(teacher, matcher.teacher_hooks(0)) as theirs:
        logits = student(IMAGES)
        teacher(IMAGES)
    features = matcher.features(0, ours, [theirs])
    inputs = LossInputs(None, logits, None, Segmentation(), features=features, modules=matcher.modules_of(0))
    return matcher, term.forward(inputs)


def test_by_default_it_compares_the_outputs_of_the_networks():
    student, teacher = network(4), network(6)
    matcher, loss = loss_of(ChannelWise(), student, teacher)
    assert [(pair.student, pair.teacher) for pair in matcher.matched[0]] == [("output", "output")]
    assert loss.item() == pytest.approx(channel_wise(student(IMAGES), teacher(IMAGES), T=4.0).mean().item(), rel=1e-5)


def test_features_of_other_widths_are_compared_through_a_trained_projector():
    student, teacher = network(4), network(6)
    matcher, loss = loss_of(ChannelWise(layers=("1",)), student, teacher)
    loss.backward()
    assert [(pair.student_shape[0], pair.teacher_shape[0]) for pair in matcher.matched[0]] == [(4, 6)]
    assert all(parameter.grad.any() for parameter in matcher.loss_modules.parameters())


def test_a_layer_without_height_and_width_is_refused():
    student, teacher = (nn.Sequential(network(width), nn.Flatten(), nn.Linear(320, 4)) for width in (4, 6))
    with pytest.raises(ModelError, match="channels need height and width, which output"):
        FeatureMatcher((ChannelWise(),), student, [teacher], IMAGES)
