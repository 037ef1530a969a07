from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models import WeightsEnum

from compress.core.errors import ModelError
from compress.core.network_spec import NetworkSpec
from compress.core.sentences import render
from compress.models.factory import BuiltModel, build_model
from compress.models.settings import ModelSettings
from compress.models.sources.torchvision import VIT
from tests.models.families import FAMILIES, Family

MakeSpec = Callable[..., NetworkSpec]


def built(name: str, spec: NetworkSpec, **fields: object) -> BuiltModel:
    return build_model(ModelSettings.model_validate({"source": f"torchvision:{name}", **fields}), spec, seed=0, base=Path())


def offline(monkeypatch: pytest.MonkeyPatch, network: nn.Module) -> None:
    """Weights of `network` in place of a download."""
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: dict(network.state_dict()))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.slow
def test_every_family_is_built_at_a_small_size_and_answers(family: Family, make_spec: MakeSpec) -> None:
    module = built(family.name, make_spec(size=family.size), args=family.args).module
    assert module(torch.rand(2, 3, family.size, family.size)).shape == (2, 10)


def test_every_classification_network_of_torchvision_belongs_to_a_tested_family() -> None:
    prefixes = tuple(family.name.rstrip("0123456789").split("_")[0].rstrip("0123456789") for family in FAMILIES)
    assert all(name.startswith(prefixes) for name in models.list_models(module=models))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet19", "did you mean 'resnet1"),
        ("ResNet18", "did you mean 'resnet18'"),
        ("fasterrcnn_resnet50_fpn", "a network for detection"),
        ("quantized_resnet18", "no plain classification network"),
    ],
)
def test_other_names_are_refused_with_the_nearest(name: str, said: str, make_spec: MakeSpec) -> None:
    with pytest.raises(ModelError, match=said):
        built(name, make_spec())


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_training_only_heads_are_left_out_so_that_training_mode_gives_logits_too(name: str, make_spec: MakeSpec) -> None:
    module = built(name, make_spec(size=75)).module.train()
    assert module(torch.rand(2, 3, 75, 75)).shape == (2, 10)


def test_the_vit_table_is_what_torchvision_builds() -> None:
    with torch.device("meta"):
        for name, fixed in VIT.items():
            theirs = models.get_model(name, num_classes=10, image_size=2 * fixed["patch_size"])
            ours = models.VisionTransformer(image_size=2 * fixed["patch_size"], num_classes=10, **fixed)
            assert str(theirs) == str(ours)


def test_a_vision_transformer_is_laid_out_for_the_data(make_spec: MakeSpec) -> None:
    small = {"patch_size": 8, "num_layers": 1, "hidden_dim": 48, "mlp_dim": 64, "num_heads": 2}
    assert built("vit_b_16", make_spec(size=32), args=small).module.image_size == 32
    with pytest.raises(ModelError, match=r"set data\.image_size to 32 or 48"):
        built("vit_b_16", make_spec(size=40))


def test_maxvit_partitions_divide_any_image(make_spec: MakeSpec) -> None:
    outcome = built(
        "maxvit_t", make_spec(size=64), args={"block_channels": [16, 16, 16, 16], "block_layers": [1] * 4, "head_dim": 8}
    )
    assert any("partition size 7 → 2" in render(note) for note in outcome.notes)


def test_pretrained_weights_keep_the_body_and_get_a_head_that_fits(
    monkeypatch: pytest.MonkeyPatch, make_spec: MakeSpec
) -> None:
    source = models.mobilenet_v3_small(num_classes=1000)
    offline(monkeypatch, source)
    outcome = built("mobilenet_v3_small", make_spec(classes=6), weights="DEFAULT")
    assert any("1000 → 6" in render(note) for note in outcome.notes)
    assert any(note.code == "models.normalised_otherwise" for note in outcome.notes)
    assert torch.equal(outcome.module.features[0][0].weight, source.features[0][0].weight)


def test_pretrained_weights_give_a_grey_image_what_three_equal_channels_got(
    monkeypatch: pytest.MonkeyPatch, make_spec: MakeSpec
) -> None:
    source = models.squeezenet1_1(num_classes=1000).eval()
    offline(monkeypatch, source)
    grey = built("squeezenet1_1", make_spec(classes=1000, channels=1), weights="DEFAULT")
    image = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(grey.module(image), source(image.repeat(1, 3, 1, 1)))
    assert any("3 → 1" in render(note) for note in grey.notes)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_pretrained_networks_with_training_only_heads_renormalise_only_three_channels(
    name: str, monkeypatch: pytest.MonkeyPatch, make_spec: MakeSpec
) -> None:
    offline(monkeypatch, models.get_model(name, aux_logits=True, init_weights=False))
    assert built(name, make_spec(size=75), weights="DEFAULT").module.transform_input is True
    assert built(name, make_spec(size=75, channels=1), weights="DEFAULT").module.transform_input is False


@pytest.mark.slow
def test_pretrained_position_embeddings_are_interpolated(monkeypatch: pytest.MonkeyPatch, make_spec: MakeSpec) -> None:
    offline(monkeypatch, models.vit_b_32(num_classes=1000))
    outcome = built("vit_b_32", make_spec(size=64), weights="IMAGENET1K_V1")
    assert any("interpolated: 224 → 64" in render(note) for note in outcome.notes)
    assert outcome.module.encoder.pos_embedding.shape == (1, 5, 768)


def test_unknown_weights_are_refused_with_the_nearest(make_spec: MakeSpec) -> None:
    with pytest.raises(ModelError, match="did you mean 'IMAGENET1K_V1'"):
        built("resnet18", make_spec(), weights="imagenet1k_v9")


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch, make_spec: MakeSpec) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with pytest.raises(ModelError, match=r"cannot download .*resnet18.*no route.*file:PATH"):
        built("resnet18", make_spec(), weights="DEFAULT")


def test_pretrained_weights_that_args_contradict_are_refused(monkeypatch: pytest.MonkeyPatch, make_spec: MakeSpec) -> None:
    offline(monkeypatch, models.mobilenet_v2())
    with pytest.raises(ModelError, match="do not fit args"):
        built("mobilenet_v2", make_spec(), weights="DEFAULT", args={"width_mult": 0.5})
