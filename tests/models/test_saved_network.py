"""A pruned network comes back from its folder, by its source and the recorded shapes."""

import copy
import json
from pathlib import Path

import pytest
import torch
import torch_pruning as tp
from torch import nn

import compress
from compress.core.errors import ModelError, TrustError
from compress.core.run_directory import SHIPPED_NETWORK
from compress.models.checkpoint import save
from compress.models.compressed_checkpoint import compress_checkpoint
from compress.models.factory import build_model
from compress.models.saved_network import (
    DESCRIPTION,
    PROGRAM,
    WEIGHTS,
    copy_network,
    load,
    read_description,
    write_description,
)
from compress.models.settings import ModelSettings
from compress.tasks.classification import Classification

CODE = """
from torch import nn
def net(num_classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))
"""
SETTINGS = ModelSettings(source="python:net.py:net")


@pytest.fixture
def pruned(tmp_path, make_spec):
    """Folder of a pruned network of the user's own code, and the network."""
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")
    reference = build_model(SETTINGS, make_spec(), seed=0, base=tmp_path, trust_code=True).module
    network = copy.deepcopy(reference)
    tp.pruner.BasePruner(
        network, torch.rand(1, 3, 32, 32), tp.importance.MagnitudeImportance(), pruning_ratio=0.5, ignored_layers=[network[4]]
    ).step()
    assert network[0].out_channels == 4
    folder = tmp_path / "02-prune"
    folder.mkdir()
    save(network.eval(), reference, folder / WEIGHTS)
    write_description(network, folder, make_spec(), architecture=SETTINGS, task="classification")
    return folder, network


def same(left: nn.Module, right: nn.Module) -> bool:
    images = torch.rand(2, 3, 32, 32)
    return torch.equal(left(images), right(images))


def test_a_pruned_network_is_built_from_its_source_and_recorded_shapes(pruned):
    folder, network = pruned
    loaded = compress.load(folder, base=folder.parent, trust_code=True)
    assert same(loaded, network)
    assert loaded[0].out_channels == 4
    assert not loaded.training


def test_code_of_the_users_own_runs_only_when_trusted(pruned):
    with pytest.raises(TrustError, match=r"net\.py"):
        load(pruned[0], base=pruned[0].parent)


def test_a_network_of_torchvision_needs_nothing_but_its_folder(tmp_path, make_spec):
    settings = ModelSettings(source="torchvision:squeezenet1_1", args={"num_classes": 20})
    network = build_model(settings, make_spec(), seed=3, base=tmp_path).module
    save(network, network, tmp_path / WEIGHTS)
    write_description(network, tmp_path, make_spec(), architecture=settings, task=Classification.name)
    assert same(load(tmp_path), network)
    assert read_description(tmp_path).class_name == "torchvision.models.squeezenet.SqueezeNet"


def test_a_network_built_in_python_needs_the_one_before_compression(tmp_path, make_spec):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)).eval()
    save(network, network, tmp_path / WEIGHTS)
    write_description(network, tmp_path, make_spec(), architecture=None, task="classification")
    with pytest.raises(ModelError, match=r"as torch\.nn\.modules\.container\.Sequential: .*`reference`.*model\.pt2"):
        load(tmp_path)
    fresh = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    assert same(load(tmp_path, reference=fresh), network)


def test_the_shipped_copy_is_unpacked_and_found_from_the_run_directory(pruned):
    folder, network = pruned
    compress_checkpoint(folder / WEIGHTS)
    run = folder.parent / "run"
    copy_network(folder, run / SHIPPED_NETWORK)
    assert sorted(path.name for path in (run / SHIPPED_NETWORK).iterdir()) == [WEIGHTS, DESCRIPTION]
    assert same(load(run, base=folder.parent, trust_code=True), network)
    (folder / PROGRAM).write_bytes(b"program")
    copy_network(folder, run / SHIPPED_NETWORK)
    assert (run / SHIPPED_NETWORK / PROGRAM).read_bytes() == b"program"


def test_folders_without_a_network_and_damaged_descriptions_are_errors(tmp_path, pruned):
    with pytest.raises(ModelError, match=r"holds no network\.json; give the folder of a stage"):
        load(tmp_path / "gone")
    path: Path = pruned[0] / DESCRIPTION
    for content in (b"", b"\xff", b"{}", json.dumps({**json.loads(path.read_bytes()), "version": 9}).encode()):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"network\.json"):
            load(pruned[0])


def test_a_description_downloads_nothing(tmp_path, make_spec, monkeypatch):
    settings = ModelSettings(source="torchvision:squeezenet1_1", weights="DEFAULT")
    network = build_model(ModelSettings(source="torchvision:squeezenet1_1"), make_spec(), seed=0, base=tmp_path).module
    save(network, network, tmp_path / WEIGHTS)
    write_description(network, tmp_path, make_spec(), architecture=settings, task="classification")
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *_, **__: pytest.fail("downloads"))
    assert same(load(tmp_path), network)
