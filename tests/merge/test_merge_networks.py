"""Merged networks: weights, statistics of batch norm, what is recorded, and a whole run."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from compress.core.errors import ModelError
from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.merge.methods.cocktail import Cocktail
from compress.merge.stage import Merge
from compress.pipeline.pipeline import Pipeline
from compress.tasks.classification import Classification
from compress.train.settings import Training
from tests.train.toy_training import conv_net, plain_net, toy_data, train


def context_in(folder: Path) -> Context:
    return Context(data=toy_data(), task=Classification(), folder=folder, cache=folder, base=folder)


def trained(seed: int, start: nn.Module, folder: Path) -> nn.Module:
    network = copy.deepcopy(start)
    (folder / str(seed)).mkdir()
    train(network, folder / str(seed), Training(epochs=3, batch_size=16, lr=0.01))
    return network.eval()


@pytest.fixture
def pair(tmp_path):
    start = conv_net(0)
    first, second = trained(1, start, tmp_path), trained(2, start, tmp_path)
    torch.save(second.state_dict(), tmp_path / "second.pt")
    return first, second


def run(stage: Merge, own: nn.Module, folder: Path):
    context = context_in(folder)
    return stage.run(Candidate(context.data.spec, own), context)


def test_weights_are_the_mean_and_statistics_are_those_of_the_merged_network(pair, tmp_path):
    first, second = pair
    before = copy.deepcopy(first.state_dict())
    outcome = run(Merge(networks=("file:second.pt",), samples=48), first, tmp_path)
    merged = outcome.candidate.network()
    for (name, value), one, two in zip(merged.named_parameters(), first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(value, (one + two) / 2, msg=name)
    inputs = next(iter(toy_data().train.ordered(48))).inputs["input"]
    maps = merged[0](inputs)
    torch.testing.assert_close(merged[1].running_mean, maps.mean((0, 2, 3)), atol=1e-4, rtol=1e-3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in first.state_dict().items())


def test_rows_have_shares_and_metrics_of_all_networks(pair, tmp_path):
    first, _ = pair
    outcome = run(Merge(networks=("file:second.pt",), weights=(3, 1)), first, tmp_path)
    rows = outcome.tables["merged_networks"]
    assert [row["network"] for row in rows] == ["network of the stage", "file:second.pt", "merged"]
    assert [row["share"] for row in rows] == [0.75, 0.25, None]
    assert outcome.results["validation_accuracy"].value == rows[-1]["accuracy"]
    assert all(0.0 <= float(row["accuracy"]) <= 1.0 for row in rows)


def test_a_bad_partner_is_told_and_gets_a_small_share_by_its_loss(tmp_path):
    good = trained(1, plain_net(0), tmp_path)
    bad = copy.deepcopy(good)
    with torch.no_grad():
        for parameter in list(bad.parameters())[-2:]:  # of the last layer
            parameter.mul_(-3.0)
    torch.save(bad.state_dict(), tmp_path / "bad.pt")
    outcome = run(Merge(networks=("file:bad.pt",)), good, tmp_path)
    assert "the merged network is worse on validation than network of the stage: its accuracy is" in render(outcome.warnings[0])
    weighed = run(Merge(networks=("file:bad.pt",), method=Cocktail(temperature=0.01)), good, tmp_path)
    assert float(weighed.tables["merged_networks"][0]["share"]) > 0.99
    assert not weighed.warnings


def test_another_architecture_is_refused(pair, tmp_path):
    with pytest.raises(ModelError, match=r"file:second\.pt|second\.pt"):
        run(Merge(networks=("file:second.pt",)), conv_net(0, width=4), tmp_path)


NETWORK = """
import torch
from torch import nn

def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
"""


def test_networks_of_two_runs_are_merged_in_a_recipe(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("train", 90), ("validation", 45), ("test", 45)):
        target = np.arange(count) % 3
        signal = rng.normal(size=(count, 3, 4)).astype(np.float32)
        signal[np.arange(count), target] += 2.0
        (tmp_path / "data").mkdir(exist_ok=True)
        np.savez(tmp_path / "data" / f"{name}.npz", signal=signal, target=target)
    (tmp_path / "nets.py").write_text(NETWORK)
    start = {"task": "classification", "data": {"source": "npz:data"}, "model": {"source": "python:nets.py:network"}}
    train_stage = {"train": {"epochs": 4, "batch_size": 16, "lr": 0.01}}

    def run_recipe(name: str, stages: list[object]):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"name": name, **start, "stages": stages}))
        return Pipeline.load(path, trust_code=True).run(out=tmp_path / "runs")

    other = run_recipe("other", [{"train": train_stage["train"] | {"lr": 0.02}}, "export"])
    merged = run_recipe("merged", [train_stage, {"merge": {"networks": [f"run:{other.folder}"]}}, "export"])
    stage = next(stage for stage in merged.record.stages if stage.name == "merge")
    assert len(stage.tables["merged_networks"]) == 3
    text = (merged.folder / "report.md").read_text(encoding="utf-8")
    assert "Merged networks" in text
    assert stage.after["accuracy"].value is not None
