"""Plans of networks: every build is a copy, keys follow what decides a result, files stay files until torch is needed."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from compress import Export, Quantize, Train
from compress.core.network_spec import image_spec
from compress.models.settings import ModelSettings
from compress.pipeline.network_plan import as_converted, given_file, needs_torch, network_of_module, plan_network
from compress.tasks.classification import Classification

SPEC = image_spec(channels=3, height=8, width=8, mean=(0.0,) * 3, std=(1.0,) * 3, classes=("a", "b"))


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def test_every_build_is_a_copy_that_later_changes_do_not_reach():
    net = module()
    plan = network_of_module(net, SPEC)
    with torch.no_grad():
        net[3].weight.zero_()
    (first, _), (second, _) = plan.build(SPEC), plan.build(SPEC)
    assert first is not second
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert first[3].weight.abs().sum() > 0


def test_a_key_follows_the_weights():
    other = module()
    with torch.no_grad():
        other[0].weight.add_(1.0)
    keys = [network_of_module(net, SPEC).key for net in (module(), module(), other)]
    assert keys[0] == keys[1] != keys[2]


def test_a_file_is_a_file_until_a_stage_needs_torch(tmp_path: Path):
    settings = ModelSettings(source="onnx:net.onnx")
    assert given_file(settings.source, tmp_path) == tmp_path / "net.onnx"
    assert given_file("torchvision:resnet18", tmp_path) is None
    (tmp_path / "net.onnx").write_bytes(b"")
    plan = plan_network(settings, Classification(), 0, tmp_path, trust_code=False)
    assert plan.file == tmp_path / "net.onnx"
    converted = as_converted(plan, "train")
    assert (converted.file, converted.converted) == (None, plan.file)
    assert converted.key != plan.key
    assert as_converted(plan, "") is plan
    assert as_converted(replace(plan, file=None), "train").converted is None
    assert plan.file_sha256 == converted.file_sha256 == hashlib.sha256(b"").hexdigest()
    assert plan_network(ModelSettings(source="torchvision:resnet18"), Classification(), 0, tmp_path, False).file_sha256 == ""


@pytest.mark.parametrize(("stages", "name"), [([Quantize(), Export()], ""), ([Train(epochs=1), Quantize()], "train")])
def test_the_first_stage_that_needs_torch_is_named(stages, name):
    assert needs_torch(stages) == name
