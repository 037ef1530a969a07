from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.core.sentences import render
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.models.small_image_stem import use_small_stem


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet", "shufflenet_v2_x0_5", "squeezenet1_1"])
def test_convolution_and_pooling_of_the_stem_stop_halving(name: str) -> None:
    extra = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    module = models.get_model(name, num_classes=2, **extra).eval()
    pools = sum(isinstance(layer, nn.MaxPool2d) for layer in module.modules())
    sides: list[int] = []
    second = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)][1]
    second.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))
    assert len(use_small_stem(module)) == 2
    assert module(torch.rand(2, 3, 32, 32)).shape == (2, 2)
    assert sides[0] >= 30  # squeezenet pads nothing
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in module.modules()) == pools - 1


def test_a_strided_convolution_alone_is_changed_where_no_pooling_follows() -> None:
    notes = use_small_stem(models.mobilenet_v2(num_classes=2))
    assert notes == [Fact.of("models.small_stem_stride", "features.0.0", stride=2)]


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Linear(2, 2), "no convolution"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)), "already has stride 1"),
        (nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.MaxPool2d(2)), "is a patch embedding"),
    ],
)
def test_what_cannot_be_changed_is_left_alone_and_said(module: nn.Module, reason: str) -> None:
    before = str(module)
    (note,) = use_small_stem(module)
    assert reason in render(note)
    assert str(module) == before


def test_the_option_is_recorded_and_keeps_the_weights_shapes(make_spec: Callable[..., NetworkSpec]) -> None:
    plain, small = (
        build_model(ModelSettings(source="torchvision:resnet18", small_stem=flag), make_spec(), seed=0, base=Path())
        for flag in (False, True)
    )
    assert len(small.notes) == 2
    shapes = [{key: value.shape for key, value in each.module.state_dict().items()} for each in (plain, small)]
    assert shapes[0] == shapes[1]
