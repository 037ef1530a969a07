"""Networks to merge: files, folders, and their architecture."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from compress.core.errors import ModelError
from compress.core.stage import Candidate, Context
from compress.merge.load_network import files_of, load_network
from compress.models import saved_network
from compress.tasks.classification import Classification
from tests.train.toy_training import plain_net, toy_data


def context_in(folder: Path, **given: object) -> Context:
    return Context(data=toy_data(), task=Classification(), folder=folder, cache=folder, base=folder, **given)  # type: ignore[arg-type]


def equal(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in first.state_dict().items())


@pytest.mark.parametrize("name", ["other.safetensors", "other.pt"])
def test_weights_of_a_file_are_loaded_into_a_copy(name, tmp_path):
    own, other = plain_net(0), plain_net(1)
    path = tmp_path / name
    save_file(other.state_dict(), path) if path.suffix == ".safetensors" else torch.save(other.state_dict(), path)
    before = copy.deepcopy(own)
    loaded = load_network(f"file:{name}", own, context_in(tmp_path))
    assert equal(loaded, other)
    assert equal(own, before)


def test_a_network_of_a_run_and_the_teacher_are_loaded(tmp_path):
    own, other = plain_net(0), plain_net(1)
    context = context_in(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    saved_network.write_description(other, folder, context.data.spec, architecture=None, task="classification")
    save_file(other.state_dict(), folder / "model.safetensors")
    with pytest.raises(ModelError, match="built in Python"):
        load_network("run:run", own, context)
    teacher = Candidate(context.data.spec, other.eval())
    assert equal(load_network("teacher", own, context_in(tmp_path, teachers=(teacher,))), other)
    with pytest.raises(ModelError, match="the recipe has none"):
        load_network("teacher", own, context)


def test_hashes_follow_the_files_and_missing_ones_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    first = files_of("file:w.safetensors", tmp_path)
    save_file({"a": torch.ones(2)}, path)
    assert first.keys() == {"w.safetensors"}
    assert files_of("file:w.safetensors", tmp_path) != first
    with pytest.raises(ModelError, match=r"file:none.safetensors: no file .*relative paths start from"):
        files_of("file:none.safetensors", tmp_path)
    with pytest.raises(ModelError, match="hf:nowhere: no folder"):
        files_of("hf:nowhere", tmp_path)


def test_of_a_run_only_the_network_that_is_read_is_hashed(tmp_path):
    run, shipped = tmp_path / "run", tmp_path / "run" / "artifacts" / "torch"
    for folder, value in ((shipped, 1.0), (run / "01-distill", 2.0), (run / "02-prune", 3.0)):
        folder.mkdir(parents=True)
        saved_network.write_description(
            plain_net(0), folder, context_in(tmp_path).data.spec, architecture=None, task="classification"
        )
        save_file({"a": torch.full((2,), value)}, folder / "model.safetensors")
    hashes = files_of("run:run", tmp_path)
    assert hashes.keys() == {"artifacts/torch/network.json", "artifacts/torch/model.safetensors"}
    save_file({"a": torch.zeros(2)}, run / "01-distill" / "model.safetensors")
    assert files_of("run:run", tmp_path) == hashes
    assert files_of("run:run/02-prune", tmp_path).keys() == {"network.json", "model.safetensors"}
    with pytest.raises(ModelError, match=r"holds no network.json"):
        files_of(f"run:{tmp_path}", tmp_path)


def test_another_architecture_is_refused_with_both_shapes(tmp_path):
    for name, other in {"wide": nn.Linear(5, 2), "bare": nn.Linear(4, 2, bias=False)}.items():
        torch.save(other.state_dict(), tmp_path / f"{name}.pt")
    context = context_in(tmp_path)
    with pytest.raises(ModelError, match=r"file:wide\.pt has another architecture: 1 of its .* weight: 2 × 5 against 2 × 4"):
        load_network("file:wide.pt", nn.Linear(4, 2), context)
    with pytest.raises(ModelError, match="such as bias: none against 2"):
        load_network("file:bare.pt", nn.Linear(4, 2), context)
