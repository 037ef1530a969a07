"""Focal and global distillation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.data.batch import Batch
from compress.data.detection_targets import pad_objects
from compress.distill.losses.fgd import Fgd, attention, focal_distillation, object_masks
from compress.tasks.detection import Detection
from compress.train.loss_term import LossInputs, MatchedFeatures, MatchedLayers
from tests.distill.losses.feature_checks import N, check_agreement, close, draw

BOXES = torch.tensor([[[0.0, 0, 16, 8], [8, 0, 16, 8]], [[0, 0, 32, 32], [0, 0, 0, 0]], [[0, 0, 0, 0], [0, 0, 0, 0]]])
PRESENT = torch.tensor([[True, True], [True, False], [False, False]])


def test_objects_weigh_by_their_area_and_the_background_as_one() -> None:
    """On a map of 4 × 4 for 32 pixels: two cells, of which one is also a smaller box; all; none."""
    foreground, background = object_masks(BOXES, PRESENT, (4, 4), (32, 32))
    assert foreground[0, 0, 0].tolist() == [0.5, 1.0, 0.0, 0.0]
    assert float(foreground[0].sum()) == 1.5
    assert bool((foreground[1] == 1 / 16).all())
    assert [float(each.sum()) for each in background] == [pytest.approx(1.0), 0.0, pytest.approx(1.0)]
    assert not bool((foreground * background).any())
    assert not bool(foreground[2].any())


def test_the_distance_equals_the_formula() -> None:
    s, t = draw(N, 3, 4, 5), draw(N, 3, 4, 5, seed=1)
    masks = draw(N, 1, 4, 5, seed=2).abs(), draw(N, 1, 4, 5, seed=3).abs()

    def weights(f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        spatial, channel = np.exp(np.abs(f).mean(0) / 0.5), np.exp(np.abs(f).mean((1, 2)) / 0.5)
        return 20 * spatial / spatial.sum(), 3 * channel / channel.sum()

    expected = []
    for n in range(N):
        (a_t, c_t), (a_s, c_s) = weights(t[n].numpy()), weights(s[n].numpy())
        place = 2.0 * masks[0][n, 0].numpy() + 3.0 * masks[1][n, 0].numpy()
        distance = sum((place * a_t * c_t[c] * (t[n, c] - s[n, c]).numpy() ** 2).sum() for c in range(3))
        expected.append(distance + 5.0 * (np.abs(a_t - a_s).mean() + np.abs(c_t - c_s).mean()))
    close(focal_distillation(s, t, masks, weights=(2.0, 3.0, 5.0), T=0.5), expected)


def test_a_student_that_agrees_has_no_loss_and_no_gradient() -> None:
    masks = torch.ones(N, 1, 4, 4), torch.ones(N, 1, 4, 4)
    check_agreement(lambda s, t: focal_distillation(s, t, masks, weights=(1.0, 1.0, 1.0), T=0.5).mean())


def test_attention_is_one_on_average() -> None:
    spatial, channel = attention(draw(N, 3, 4, 5), T=0.5)
    assert torch.allclose(spatial.mean((1, 2, 3)), torch.ones(N, dtype=spatial.dtype))
    assert torch.allclose(channel.mean((1, 2, 3)), torch.ones(N, dtype=spatial.dtype))


def test_the_term_teaches_what_is_inside_the_boxes() -> None:
    """With α alone, the gradient of the student's map is 0 outside the box."""
    term = Fgd(background=0.0, attention=0.0, relation=0.0, foreground=1.0)
    matched = (MatchedLayers("a", (3, 4, 4), "b", (5, 4, 4)),)
    modules = term.prepare(matched, 10)
    assert isinstance(modules, nn.ModuleList)
    student = torch.randn(1, 3, 4, 4, requires_grad=True)
    targets = pad_objects([(torch.tensor([[8.0, 8, 24, 16]]), torch.tensor([0]))], 2)
    batch = Batch({"input": torch.zeros(1, 3, 32, 32)}, targets)
    features = (MatchedFeatures(student, torch.randn(1, 5, 4, 4)),)
    term.forward(LossInputs(batch, torch.zeros(1, 2), None, Detection(), features=features, modules=modules)).backward()
    assert student.grad is not None
    touched = student.grad[0].abs().sum(0) > 0
    assert touched.nonzero().tolist() == [[1, 1], [1, 2]]


def test_layers_without_height_and_width_are_refused() -> None:
    with pytest.raises(ModelError, match="height and width"):
        Fgd().prepare((MatchedLayers("a", (3,), "b", (5,)),), 10)
