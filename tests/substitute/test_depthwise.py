import copy

import pytest
import torch
from torch import nn

from compress.substitute import depthwise
from compress.substitute.trace_calls import trace


def conv(kernel=5, **settings):
    settings = {"padding": 2 if isinstance(kernel, tuple) else kernel // 2, "groups": 6, **settings}
    return nn.Conv2d(6, settings.pop("out", 6), kernel, **settings)


def shrunk(part, x, way):
    net = nn.Sequential(copy.deepcopy(part)).eval()
    r_squared = depthwise.fit_kernel(net[0], depthwise.collect_moments(net, ["0"], [x])["0"], way)
    return net[0], r_squared


@pytest.mark.parametrize(
    "part",
    [
        conv(),
        conv(7, stride=2),
        conv(dilation=2, padding=4),
        conv(bias=False, out=12),
        conv((5, 3), padding=(2, 1)),
        conv(padding="same"),
        conv(padding_mode="reflect"),
        conv(padding=1),
    ],
    ids=str,
)
def test_a_kernel_that_is_3x3_at_heart_comes_back_exactly(part):
    torch.manual_seed(0)
    with torch.no_grad():
        inner = depthwise.center_crop(part)
        part.weight.zero_()
        tall, wide = ((side - min(side, 3)) // 2 for side in part.kernel_size)
        part.weight[:, :, tall : tall + inner.shape[2], wide : wide + inner.shape[3]] = inner
    x = torch.randn(8, 6, 15, 13)
    for way in ("least_squares", "crop"):
        small, r_squared = shrunk(part, x, way)
        assert small.kernel_size == (3, 3)
        assert r_squared == pytest.approx(1.0, abs=1e-4)
        with torch.no_grad():
            assert torch.allclose(small(x), part(x), atol=2e-3)


def test_least_squares_is_the_exact_minimum_and_never_worse_than_the_crop():
    torch.manual_seed(0)
    part = conv()
    x = torch.nn.functional.avg_pool2d(torch.randn(16, 6, 20, 20), 3, 1)  # neighbours are alike, as in images
    (fitted, r_squared), (cropped, kept_by_crop) = (shrunk(part, x, way) for way in ("least_squares", "crop"))
    with torch.no_grad():
        expected = part(x) - part.bias.reshape(1, -1, 1, 1)
        patches = torch.nn.functional.unfold(x[:, :1], 3, padding=1).transpose(0, 1).flatten(1).double()
        exact = torch.linalg.lstsq(patches.T, expected[:, 0].flatten().double()).solution
        assert torch.allclose(fitted.weight[0].flatten().double(), exact, atol=1e-2)
        errors = [float(((layer(x) - part(x)) ** 2).sum() / (expected**2).sum()) for layer in (fitted, cropped)]
    assert r_squared == pytest.approx(1 - errors[0], abs=1e-3)
    assert kept_by_crop == pytest.approx(1 - errors[1], abs=1e-3)
    assert r_squared > kept_by_crop > 0


def test_the_crop_is_the_middle_times_one_factor_a_channel():
    torch.manual_seed(0)
    part = conv()
    small, _ = shrunk(part, torch.randn(4, 6, 12, 12) + 1, "crop")
    ratio = (small.weight / part.weight[:, :, 1:4, 1:4]).flatten(1)
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), atol=1e-3)
    assert ratio.std(0).max() > 1e-3


def test_bias_and_what_needs_no_gradient_stay():
    part = conv().requires_grad_(False)
    small, _ = shrunk(part, torch.randn(2, 6, 9, 9), "least_squares")
    assert torch.equal(small.bias, part.bias)
    assert not small.weight.requires_grad


class Halves(nn.Conv2d):
    def forward(self, x):
        return nn.functional.conv2d(x, self.weight / 2, self.bias, padding=2, groups=6)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (conv(4, padding=2), "substitute.kernel_no_center"),
        (conv(padding=0), "substitute.kernel_padding"),
        (conv(padding="valid"), "substitute.kernel_padding"),
        (Halves(6, 6, 5, padding=2, groups=6), "substitute.kernel_weight"),
    ],
)
def test_what_cannot_shrink_has_a_reason(part, reason):
    net = nn.Sequential(part).eval()
    assert depthwise.find_large(net, trace(net, torch.randn(1, 6, 9, 9)))["0"].code == reason


def test_other_convolutions_are_none():
    net = nn.Sequential(conv(3), nn.Conv2d(6, 6, 5, groups=2), nn.Conv2d(6, 1, 5)).eval()
    assert depthwise.find_large(net, trace(net, torch.randn(1, 6, 20, 20))) == {}
