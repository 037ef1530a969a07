import pytest
import torch
from torch.nn import functional as F

from compress.tasks.image_text.contrastive_loss import image_text_contrast


def test_it_is_the_mean_cross_entropy_of_both_ways():
    v, t = torch.randn(7, 5), torch.randn(7, 5)
    z = 3.0 * F.normalize(v, dim=1) @ F.normalize(t, dim=1).T
    rows = -torch.stack([z[n].log_softmax(0)[n] for n in range(7)]).mean()
    columns = -torch.stack([z[:, n].log_softmax(0)[n] for n in range(7)]).mean()
    loss = image_text_contrast(v, t, torch.eye(7, dtype=torch.bool), scale=3.0)
    assert float(loss) == pytest.approx(float((rows + columns) / 2), rel=1e-5)


def test_pairs_that_belong_together_are_no_negatives():
    v = torch.eye(4)
    same = torch.eye(4, dtype=torch.bool)
    t = v.clone()
    t[1] = t[0]  # the caption of image 0 is also that of image 1
    v[1] = v[0]
    harder = image_text_contrast(v, t, same, scale=50.0)
    same[0, 1] = same[1, 0] = True
    assert float(image_text_contrast(v, t, same, scale=50.0)) == pytest.approx(0, abs=1e-6)
    assert float(harder) > 0.3


def test_the_scale_gets_a_gradient():
    scale = torch.tensor(2.0, requires_grad=True)
    image_text_contrast(torch.randn(5, 3), torch.randn(5, 3), torch.eye(5, dtype=torch.bool), scale=scale).backward()
    assert scale.grad is not None
    assert torch.isfinite(scale.grad)
