from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_pruning as tp
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models

from compress.core.errors import ModelError
from compress.core.network_spec import NetworkSpec
from compress.models import checkpoint
from compress.models.factory import build_model
from compress.models.fit_to_data import last_layer
from compress.models.settings import ModelSettings
from tests.models.families import FAMILIES, Family

MakeSpec = Callable[..., NetworkSpec]
SLOW_TO_TRACE = ("maxvit_t", "swin_t", "swin_v2_t")
"""torch-pruning needs minutes to group all their layers."""


def prune_hidden_layers(module: nn.Module) -> None:
    """Halve the hidden layer of every pair of linear layers in a sequence."""
    for block in [layer for layer in module.modules() if isinstance(layer, nn.Sequential)]:
        linear = [layer for layer in block if isinstance(layer, nn.Linear)]
        if len(linear) == 2:
            half = list(range(0, linear[0].out_features, 2))
            tp.prune_linear_out_channels(linear[0], half)
            tp.prune_linear_in_channels(linear[1], half)


def prune(module: nn.Module, family: Family) -> None:
    """Take half of the channels out of a network with 10 classes."""
    image = torch.rand(1, 3, family.size, family.size)
    if family.name in SLOW_TO_TRACE:
        prune_hidden_layers(module)
    elif family.name.startswith("shufflenet"):  # torch-pruning cannot trace its channel split
        half = list(range(0, 1024, 2))
        tp.prune_conv_out_channels(module.conv5[0], half)
        tp.prune_batchnorm_out_channels(module.conv5[1], half)
        tp.prune_linear_in_channels(module.fc, half)
    else:
        found = last_layer(module, 10)
        assert found is not None
        heads = {layer: layer.num_heads for layer in module.modules() if isinstance(layer, nn.MultiheadAttention)}
        tp.pruner.BasePruner(
            module, image, tp.importance.MagnitudeImportance(), pruning_ratio=0.5, ignored_layers=[found[1]], num_heads=heads
        ).step()
        if heads:
            module.hidden_dim = module.conv_proj.out_channels
    module.eval()


def round_trip(family: Family, spec: NetworkSpec, path: Path) -> None:
    settings = ModelSettings(source=f"torchvision:{family.name}", args=family.args)
    reference = build_model(settings, spec, seed=0, base=Path()).module
    module = copy.deepcopy(reference)
    prune(module, family)
    checkpoint.save(module, reference, path)
    fresh = build_model(settings, spec, seed=1, base=Path()).module
    parameters = sum(each.numel() for each in fresh.parameters())
    back = checkpoint.load(path, fresh)
    images = torch.rand(2, 3, family.size, family.size)
    with torch.no_grad():
        assert torch.equal(module(images), back(images))
    assert sum(each.numel() for each in back.parameters()) < parameters
    assert sum(each.numel() for each in fresh.parameters()) == parameters
    assert str(back) == str(module)


UNWRAPPED = "ignore:Unwrapped parameters detected:UserWarning"
"""torch-pruning tells which plain parameters (class token, layer scale) it wraps by itself."""


@pytest.mark.slow
@pytest.mark.filterwarnings(UNWRAPPED)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_comes_back_pruned_and_answers_bit_for_bit(family: Family, make_spec: MakeSpec, tmp_path: Path) -> None:
    round_trip(family, make_spec(size=family.size), tmp_path / "m.safetensors")


@pytest.mark.filterwarnings(UNWRAPPED)
@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1", "resnet18"])
def test_convolutional_networks_come_back_pruned(name: str, make_spec: MakeSpec, tmp_path: Path) -> None:
    round_trip(next(family for family in FAMILIES if family.name == name), make_spec(), tmp_path / "m.safetensors")


@pytest.mark.filterwarnings(UNWRAPPED)
def test_a_vision_transformer_comes_back_with_fewer_heads(make_spec: MakeSpec, tmp_path: Path) -> None:
    small = {"patch_size": 8, "num_layers": 2, "hidden_dim": 64, "mlp_dim": 96, "num_heads": 4}
    round_trip(Family("vit_b_16", args=small), make_spec(), tmp_path / "m.safetensors")


def test_a_swin_transformer_comes_back_with_narrower_hidden_layers(tmp_path: Path) -> None:
    def fresh() -> nn.Module:
        return models.SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=10).eval()

    module = fresh()
    prune_hidden_layers(module)
    checkpoint.save(module, fresh(), tmp_path / "m.safetensors")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(checkpoint.load(tmp_path / "m.safetensors", fresh())(images), module(images))


class Odd(nn.Module):
    """Tied weights, a transient buffer, a frozen layer, a half-precision one, tuples and floats."""

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.size = size
        self.shape = (1, size)
        self.scale = 0.5
        self.mode = "sum"
        self.table = torch.arange(3)
        self.first = nn.Linear(size, size, bias=False)
        self.second = nn.Linear(size, size, bias=False)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(size, 2).requires_grad_(False)
        self.low = nn.Linear(2, 2).half()
        self.register_buffer("mask", torch.ones(size), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.frozen(self.second(self.first(x * self.mask)).reshape(-1, self.size)) * self.scale
        return self.low(hidden.half()).float()


def trip(module: nn.Module, reference: nn.Module, folder: Path) -> Any:
    checkpoint.save(module, reference, folder / "m.safetensors")
    return checkpoint.load(folder / "m.safetensors", reference)


def test_tied_weights_are_stored_once_and_come_back_tied(tmp_path: Path) -> None:
    module = Odd()
    back = trip(module, Odd(), tmp_path)
    assert back.first.weight is back.second.weight
    assert torch.equal(back.first.weight, module.first.weight)
    assert "second.weight" not in load_file(tmp_path / "m.safetensors")


def test_transient_buffers_sizes_tuples_and_floats_come_back(tmp_path: Path) -> None:
    module = Odd(3)
    module.scale = 0.25
    back = trip(module, Odd(4), tmp_path)
    assert (back.size, back.shape, back.scale, back.first.in_features) == (3, (1, 3), 0.25, 3)
    assert torch.equal(back.mask, torch.ones(3))
    assert "mask" not in back.state_dict()
    assert torch.equal(back(torch.ones(2, 3)), module(torch.ones(2, 3)))


def test_frozen_layers_stay_frozen_and_types_stay(tmp_path: Path) -> None:
    back = trip(Odd(), Odd(), tmp_path)
    assert not back.frozen.weight.requires_grad
    assert back.first.weight.requires_grad
    assert isinstance(back.first.weight, nn.Parameter)
    assert back.low.weight.dtype == torch.float16
    assert not back.training


def test_equal_networks_give_equal_files(tmp_path: Path) -> None:
    module = Odd()
    checkpoint.save(module, Odd(), tmp_path / "a")
    checkpoint.save(copy.deepcopy(module), Odd(), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def broken(change: str) -> nn.Module:
    module = Odd()
    if change == "replaced":
        module.frozen = nn.Tanh()
    elif change == "added":
        module.extra = nn.ReLU()
    elif change == "without tensor":
        module.frozen.bias = None
    elif change == "mode":
        module.mode = "mean"
    elif change == "table":
        module.table = torch.arange(4)
    elif change == "size":
        module.size = 4.0  # type: ignore[assignment]
    return module


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("replaced", "frozen"),
        ("added", "extra"),
        ("without tensor", r"frozen\.bias"),
        ("mode", "mode"),
        ("table", "table"),
        ("size", "size"),
    ],
)
def test_a_difference_that_cannot_be_written_is_named_and_nothing_is_written(change: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=named):
        checkpoint.save(broken(change), Odd(), tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def tamper(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with safe_open(path, framework="pt") as file:
        layout = json.loads(file.metadata()[checkpoint.KEY])
    change(layout)
    save_file(load_file(path), path, metadata={checkpoint.KEY: json.dumps(layout)})


@pytest.mark.parametrize(
    "change",
    [
        lambda layout: layout["numbers"]["first"].update(forward=1),
        lambda layout: layout["numbers"]["first"].update(training=True),
        lambda layout: layout["numbers"]["first"].update(_parameters=1),
        lambda layout: layout["numbers"]["first"].update(in_features=True),
        lambda layout: layout["numbers"]["first"].update(in_features=[4]),
        lambda layout: layout["numbers"]["first"].update(in_features="4"),
        lambda layout: layout["numbers"][""].update(mode=1),
        lambda layout: layout["numbers"].update({"first.weight": {"requires_grad": True}}),
        lambda layout: layout["numbers"].update({"gone": {}, "__class__": {"x": 1}}),
        lambda layout: layout["types"].update(first="Conv2d"),
        lambda layout: layout["types"].pop("first"),
        lambda layout: layout["tied"].update({"second.weight": "nothing"}),
        lambda layout: layout["tied"].update({"third.weight": "first.weight"}),
        lambda layout: layout["replaced"].update(frozen="tanh"),
        lambda layout: layout["replaced"].update(frozen="identity"),
        lambda layout: layout["replaced"].update({"": "identity"}),
        lambda layout: layout["replaced"].update({"third": "identity"}),
        lambda layout: layout["replaced"].update({"third.act": "relu"}),
        lambda layout: layout["replaced"].update(forward="relu"),
        lambda layout: layout["replaced"].update(mode="relu"),
        lambda layout: layout["replaced"].update({"first.weight": "identity"}),
        lambda layout: layout.update(version=2),
        lambda layout: layout.update(code="import os"),
    ],
)
def test_a_tampered_description_is_refused(change: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    checkpoint.save(Odd(), Odd(), path)
    checkpoint.load(path, Odd())
    tamper(path, change)
    with pytest.raises(ModelError, match=r"m\.safetensors"):
        checkpoint.load(path, Odd())


def test_files_of_other_making_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(ModelError, match="no checkpoint"):
        checkpoint.load(path, Odd())
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        checkpoint.load(path, Odd())
    save_file({"w": torch.ones(1)}, path)
    with pytest.raises(ModelError, match="not written by compress"):
        checkpoint.load(path, Odd())
    checkpoint.save(nn.Linear(2, 2), nn.Linear(2, 2), path)
    with pytest.raises(ModelError, match="saved for another network"):
        checkpoint.load(path, Odd())


def test_weights_of_another_type_are_refused(tmp_path: Path) -> None:
    checkpoint.save(nn.Linear(3, 2), nn.Linear(3, 2), tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key).to(torch.int8) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, tmp_path / "w.safetensors", metadata=metadata)
    with pytest.raises(ModelError, match="2 tensors differ"):
        checkpoint.load(tmp_path / "w.safetensors", nn.Linear(3, 2))


def test_another_structure_is_one_of_other_shapes_or_parts() -> None:
    def net(width: int = 4, activation: nn.Module | None = None) -> nn.Module:
        return nn.Sequential(nn.Linear(3, width), activation or nn.Hardswish(), nn.Linear(width, 2))

    assert not checkpoint.has_other_structure(net(), net())
    assert checkpoint.has_other_structure(net(3), net())
    assert checkpoint.has_other_structure(net(activation=nn.ReLU()), net())
