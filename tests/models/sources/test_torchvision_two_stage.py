"""torchvision's Faster R-CNN by name: its weights come in whole, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models import detection
from torchvision.ops import FrozenBatchNorm2d

from compress.core.errors import ModelError
from compress.core.network_spec import NetworkSpec, image_spec
from compress.models.settings import ModelSettings
from compress.models.sources.torchvision_two_stage import (
    BUILDERS,
    PREDICTOR,
    RESNET,
    pretrained,
    small_two_stage,
    thaw_batchnorms,
)

MOBILENET = "fasterrcnn_mobilenet_v3_large_320_fpn"
TINY = {"backbone": "resnet18", "fpn_channels": 32, "anchor_scale": 0.1, "representation": 32, "proposals": 7}


def spec(classes: int, channels: int = 3) -> NetworkSpec:
    names, grey = tuple(f"class {index}" for index in range(classes)), (0.5,) * channels
    return image_spec(channels=channels, height=96, width=64, mean=grey, std=grey, classes=names, outputs=())


def test_layers_have_the_names_of_torchvision() -> None:
    network = BUILDERS[MOBILENET](4, (64, 64))
    theirs = detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=5)
    network.load_state_dict(theirs.state_dict())
    assert not any(isinstance(part, FrozenBatchNorm2d) for part in network.modules())


def test_a_smaller_network_has_the_number_of_proposals_that_is_asked_for() -> None:
    network = BUILDERS[RESNET](3, (64, 96), **TINY).eval()
    with torch.no_grad():
        logits, offsets, proposals = network(torch.zeros(2, 3, 64, 96))
    assert (logits.shape, offsets.shape, proposals.shape) == ((2, 7, 3), (2, 7, 12), (2, 7, 4))
    with pytest.raises(ValueError, match=f"are for {RESNET}"):
        BUILDERS[MOBILENET](3, (64, 64), fpn_channels=64)
    with pytest.raises(TypeError, match="'vgg11' is no ResNet"):
        BUILDERS[RESNET](3, (64, 64), backbone="vgg11")
    with pytest.raises(ValueError, match="multiples of 16 pixels, not 40×64"):
        small_two_stage(3, (40, 64))


def test_frozen_batch_norms_become_trainable_with_the_same_function() -> None:
    frozen = nn.Sequential(nn.Conv2d(3, 4, 1), FrozenBatchNorm2d(4, eps=0.0)).eval()
    for values in frozen[1].buffers():
        values.copy_(torch.rand(4) + 0.5)
    image = torch.randn(2, 3, 5, 5)
    expected = frozen(image)
    thaw_batchnorms(frozen)
    assert isinstance(frozen[1], nn.BatchNorm2d)
    assert torch.allclose(frozen(image), expected, atol=1e-6)


@pytest.fixture
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The state of a network as the download of torchvision's weights would give it."""
    torch.manual_seed(3)
    state = dict(models.get_model(MOBILENET, weights=None, weights_backbone=None).state_dict())
    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda *_, **__: state)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return state


@pytest.mark.parametrize("classes", [90, 2])
def test_weights_come_in_whole(classes: int, downloaded: dict[str, torch.Tensor]) -> None:
    settings = ModelSettings.model_validate(
        {"source": f"torchvision:{MOBILENET}", "weights": "DEFAULT", "args": {"proposals": 5}}
    )
    network, notes = pretrained(MOBILENET, settings, spec(classes))
    own = network.state_dict()
    same = {name for name, values in downloaded.items() if own[name].shape == values.shape and torch.equal(own[name], values)}
    fresh = {name for name in downloaded if name.startswith(PREDICTOR)}
    assert same == set(downloaded) - (fresh if classes == 2 else set())
    assert [note.code for note in notes] == ["models.normalised_otherwise", *["models.classes_fitted"] * (classes == 2)]
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_other_arguments_beside_weights_and_grey_images_are_refused() -> None:
    settings = ModelSettings.model_validate(
        {"source": f"torchvision:{MOBILENET}", "weights": "DEFAULT", "args": {"backbone": "x"}}
    )
    with pytest.raises(ModelError, match=r"takes only args .proposals"):
        pretrained(MOBILENET, settings, spec(2))
    with pytest.raises(ModelError, match="3 channels, the data has 1"):
        BUILDERS[MOBILENET](2, (64, 64), channels=1)
