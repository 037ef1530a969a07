"""One member of every family: what is replaced, whether it comes back from a checkpoint, and whether it can be pruned."""

import copy

import pytest
import torch

from compress.core.network_spec import image_spec
from compress.models.checkpoint import load, save
from compress.models.count_macs import count_network
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.structured.channels import ChannelPruner
from compress.substitute import apply as replace
from compress.substitute import find_operators as survey
from compress.substitute.stage import Substitute
from tests.models.families import FAMILIES, Family

STAGE = Substitute(activations="relu6", squeeze_excite="remove", depthwise="3x3")
FOUND = {
    "convnext_tiny": {"depthwise": 18, "gelu": 18},
    "efficientnet_b0": {"depthwise": 9, "squeeze_excite": 16, "silu": 33},
    "efficientnet_v2_s": {"squeeze_excite": 30, "silu": 72},
    "maxvit_t": {"squeeze_excite": 11, "gelu": 45},
    "mnasnet0_5": {"depthwise": 10},
    "mobilenet_v3_small": {"depthwise": 8, "squeeze_excite": 9, "hardswish": 19},
    "regnet_y_400mf": {"squeeze_excite": 16},
    "swin_t": {"gelu": 12},
    "swin_v2_t": {"gelu": 12},
    "vit_b_16": {"gelu": 2},
}
"""Places by kind, activations inside of squeeze-excite not counted; a family that is not here has nothing to replace."""
TIMM = {
    "test_efficientnet": {"squeeze_excite": 2, "silu": 9},
    "mobilenetv3_small_100": {"depthwise": 8, "squeeze_excite": 9, "hardswish": 19},
    "regnety_002": {"squeeze_excite": 13},
    "test_vit": {"gelu": 6},
    "seresnet18": {"squeeze_excite": 8},
}


def adapted(source, args, size, result, folder):
    """Replace everything; check what was found, that gates were absorbed, and that a checkpoint brings it back."""
    spec = image_spec(channels=3, height=size, width=size, mean=(0,) * 3, std=(1,) * 3, classes=("a", "b", "c", "d"))
    settings = ModelSettings(source=source, args=args)
    net, fresh = (build_model(settings, spec, seed=seed, base=folder).module for seed in (0, 1))
    x = torch.randn(4, *spec.shape, generator=torch.Generator().manual_seed(0))
    places = survey.find_replaceable(STAGE, net, x[:2])
    gone = places.places.get("squeeze_excite", ())
    counted = {kind: len(survey.outside(names, gone)) for kind, names in places.places.items()}
    assert {kind: number for kind, number in counted.items() if number} == result
    assert places.skipped == ()
    module = copy.deepcopy(net)
    replace.shrink_depthwise(module, places.places.get("depthwise", ()), [x], "least_squares")
    rows = replace.remove_gates(module, places.absorb_targets, [x])
    assert all(not row.dropped for row in rows)
    for kind in ("hardswish", "silu", "gelu"):
        replace.replace_activations(module, kind, "relu6", survey.outside(places.places.get(kind, ()), gone))
    assert survey.find_replaceable(STAGE, module, x[:2]).places == {}
    save(module, net, folder / "m.safetensors")
    with torch.no_grad():
        assert torch.equal(load(folder / "m.safetensors", fresh)(x), module(x))
    return module, net, spec


def prunes(module, net, spec, folder):
    cut = ChannelPruner(module, spec, measure="macs", ranking="global", limits=Constraints()).prune(module, 0.6, magnitude())
    assert count_network(cut.module, spec).macs <= 0.6 * count_network(module, spec).macs
    save(cut.module, net, folder / "pruned.safetensors")
    x = torch.randn(2, *spec.shape)
    with torch.no_grad():
        assert torch.equal(load(folder / "pruned.safetensors", net)(x), cut.module(x))


def test_mobilenet_v3_is_adapted_and_pruned_and_comes_back(tmp_path):
    name = "mobilenet_v3_small"
    module, net, spec = adapted(f"torchvision:{name}", {}, 32, FOUND[name], tmp_path)
    prunes(module, net, spec, tmp_path)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit"])
def test_networks_of_timm(name, tmp_path):
    pytest.importorskip("timm")
    adapted(f"timm:{name}", {}, 64, TIMM[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_more_networks_of_timm_are_adapted_and_pruned(name, tmp_path):
    pytest.importorskip("timm")
    args = {"img_size": 64} if name == "test_vit" else {}
    prunes(*adapted(f"timm:{name}", args, 64, TIMM[name], tmp_path), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_is_adapted_and_comes_back(family: Family, tmp_path):
    adapted(f"torchvision:{family.name}", family.args, family.size, FOUND.get(family.name, {}), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_b0", "regnet_y_400mf", "vit_b_16", "convnext_tiny"])
def test_adapted_families_are_pruned(name, tmp_path):
    family = next(item for item in FAMILIES if item.name == name)
    prunes(*adapted(f"torchvision:{name}", family.args, family.size, FOUND[name], tmp_path), tmp_path)
