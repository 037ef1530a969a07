"""One member of each classification family of torchvision, pruned once at a tiny input. Prints what stays and why."""

from collections import Counter

import pytest
import torch

from compress.core.network_spec import image_spec
from compress.core.sentences import render
from compress.models.checkpoint import load, save
from compress.models.count_macs import count_network
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.structured.channels import ChannelPruner

FAMILIES = {
    "alexnet": 63,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "efficientnet_v2_s": 32,
    "googlenet": 32,
    "inception_v3": 75,
    "maxvit_t": 32,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "regnet_x_400mf": 32,
    "regnet_y_400mf": 32,
    "resnet18": 32,
    "resnext50_32x4d": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32,
    "swin_t": 32,
    "swin_v2_t": 32,
    "vgg11": 32,
    "vgg11_bn": 32,
    "vit_b_16": 32,
    "wide_resnet50_2": 32,
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FAMILIES)
def test_half_of_the_macs_go(name, tmp_path):
    size = FAMILIES[name]
    spec = image_spec(channels=3, height=size, width=size, mean=(0,) * 3, std=(1,) * 3, classes=("a", "b", "c", "d"))
    net = build_model(ModelSettings(source=f"torchvision:{name}"), spec, seed=0, base=tmp_path).module
    pruner = ChannelPruner(net, spec, measure="macs", ranking="global", limits=Constraints())
    cut = pruner.prune(net, 0.5, magnitude())
    ratio = count_network(cut.module, spec).macs / count_network(net, spec).macs
    print(f"\n{name}: {ratio:.3f} of the MACs left {cut.notes or ''}")
    for reason, times in Counter(render(fact) for fact in pruner.skipped).items():
        print(f"  {times} × {reason}")
    assert ratio <= 0.5
    assert cut.notes == ()
    save(cut.module, net, tmp_path / "pruned.safetensors")
    x = torch.randn(2, *spec.shape)
    with torch.no_grad():
        outputs = cut.module(x)
        assert outputs.shape == (2, 4)
        assert torch.equal(load(tmp_path / "pruned.safetensors", net)(x), outputs)
