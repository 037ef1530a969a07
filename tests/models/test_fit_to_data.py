from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.models.fit_to_data import fit_channels, fit_classes


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6), nn.Linear(6, 6))


def test_a_grey_image_gives_what_it_gave_repeated_over_all_channels() -> None:
    module, image = network(), torch.rand(2, 1, 8, 8)
    before = module(image.repeat(1, 3, 1, 1))
    assert fit_channels(module, 1)
    torch.testing.assert_close(module(image), before)


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_equal_channels_keep_their_total_weight_when_the_channels_cycle_evenly(channels: int) -> None:
    module = network()
    before = module[0].weight.detach().clone()
    fit_channels(module, channels)
    assert module[0].weight.shape[1] == module[0].in_channels == channels
    if channels % 3 == 0:
        torch.testing.assert_close(module[0].weight.sum(dim=1), before.sum(dim=1))
    torch.testing.assert_close(module[0].weight[:, 0], before[:, 0] * 3 / channels)


def test_fitting_channels_that_fit_or_cannot_be_changes_nothing() -> None:
    assert fit_channels(network(), 3) == []
    assert fit_channels(nn.Sequential(nn.Conv2d(3, 6, 3, groups=3)), 1) == []
    assert fit_channels(nn.Linear(3, 3), 1) == []


def test_only_the_last_layer_with_that_many_outputs_is_replaced() -> None:
    module = network()
    inner = module[4].weight.detach().clone()
    assert fit_classes(module, 6, 3) == [Fact.of("models.classes_fitted", "5", before=6, after=3)]
    assert module[5].out_features == 3
    assert torch.equal(module[4].weight, inner)


def test_a_convolutional_head_keeps_its_geometry() -> None:
    module = nn.Sequential(nn.Conv2d(3, 9, 3, stride=2, padding=1, bias=False))
    fit_classes(module, 9, 2)
    assert module(torch.rand(1, 3, 8, 8)).shape == (1, 2, 4, 4)
    assert module[0].bias is None


def test_a_head_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ModelError, match="no layer of the network has 5 outputs"):
        fit_classes(network(), 5, 3)
