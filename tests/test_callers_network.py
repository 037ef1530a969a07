"""Stages that train work on copies: the caller's network, its frozen weights and the process are afterwards as before."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compress import DatasetDistillation, Distill, Prune, Quantize, Substitute, Train
from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import ImagePreprocessing
from compress.core.stage import Candidate, Context, Stage
from compress.tasks.classification import Classification
from tests.dataset_distillation import runs as synthesis
from tests.network_state import network_state, process_state
from tests.prune.conftest import WAYS
from tests.train.toy_training import CLASSES, toy_data

QUICK = {"epochs": 1, "batch_size": 16, "lr": 0.02}
FROZEN = "stem.0"
"""The layer whose weights the caller froze."""


class Block(nn.Module):
    """Expansion, depthwise 5×5 convolution, projection, residual."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(),
            nn.Conv2d(hidden, hidden, 5, padding=2, groups=hidden), nn.BatchNorm2d(hidden), nn.Hardswish(),
            nn.Conv2d(hidden, width, 1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class Network(nn.Module):
    """A stem, two blocks, dropout and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.blocks = nn.Sequential(Block(8, 32), Block(8, 32))
        self.drop, self.head = nn.Dropout(0.1), nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.blocks(self.stem(x)).mean((2, 3))))


def network(*, used: bool) -> nn.Module:
    """One with a frozen layer; `used` adds what earlier use leaves: gradients, layers in training mode, a hook."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Network().eval()
        net.get_submodule(FROZEN).requires_grad_(False)
        net.train()(torch.randn(8, 3, 8, 8))
        net.eval()
        if used:
            net.head.register_forward_hook(_unchanged)
            net(torch.randn(4, 3, 8, 8)).square().sum().mul(100.0).backward()
            net.drop.train()
    return net


def _unchanged(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
    return output


@pytest.fixture
def context(tmp_path: Path) -> Context:
    data, folder = toy_data(), tmp_path / "stage"
    normalisation = ImagePreprocessing(mean=(0.5,) * 3, std=(0.125,) * 3)
    data = replace(data, spec=data.spec.model_copy(update={"preprocessing": normalisation}))
    folder.mkdir()

    def to_onnx(candidate: Candidate) -> Path:
        export_onnx(candidate.network(), candidate.spec, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return Context(data, Classification(), folder, tmp_path / "cache", seed=3, device="cpu", to_onnx=to_onnx)


TEACHERS: dict[str, Any] = {
    "parent": "parent",
    "snapshot": {"snapshot": {"every": 1}},
    "moving average": "moving_average",
    "ensemble": "ensemble",
    "born again": {"born_again": {"twins": 2}},
    "mutual": "mutual",
}
ONLINE: dict[str, Any] = {
    "hint": "hint",
    "jacobian": "jacobian",
    "contrastive": "contrastive",
    "exits": {"self_distillation_exits": {"layers": ["stem", "blocks.0"]}},
}
"""Losses for which networks run in every step beside the student's own pass."""
STAGES: dict[str, Stage] = {
    "train": Train(**QUICK, ema=0.9),
    **{f"distill {name}": Distill(**QUICK, teacher=teacher) for name, teacher in TEACHERS.items()},
    **{f"distill {name}": Distill(**QUICK, teacher="parent", losses=(loss, "task")) for name, loss in ONLINE.items()},
    "distill control": Distill(**QUICK, teacher="parent", control=True),
    **{f"prune {name}": Prune(**fields, protect=(FROZEN,)) for name, fields in WAYS.items()},
    "prune layer": Prune(
        granularity="layer", target={"macs": 0.9}, recover=QUICK, schedule={"kind": "one_shot"}, timing_seconds=0
    ),
    "substitute": Substitute(activations="relu6", depthwise="3x3", images=32, timing_seconds=0, recover=QUICK),
    "quantize adaround": Quantize(
        accept_if=None,
        ptq={"weights": {"bits": 4, "rounding": "adaround", "iterations": 1}},
        calibration={"samples": 16, "learn_epochs": 1},
    ),
    "quantize recover": Quantize(accept_if=None, calibration={"samples": 32}, recover=QUICK),
    **{f"dataset_distillation {name}": synthesis.stage(name, teacher="parent", images_per_class=2) for name in synthesis.QUICK},
}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_network_and_process_are_as_before_and_frozen_weights_stay(stage: Stage, context: Context) -> None:
    net = network(used=True)
    frozen = copy.deepcopy(net.get_submodule(FROZEN).state_dict())
    before, process = network_state(net), process_state()
    outcome = stage.run(Candidate(context.data.spec, net), context)
    after = network_state(net)
    assert {part: after[part] == before[part] for part in before} == dict.fromkeys(before, True)
    assert process_state() == process
    if outcome.candidate.module is not None and not isinstance(stage, DatasetDistillation):
        layer = outcome.candidate.module.get_submodule(FROZEN)
        assert all(torch.equal(value, frozen[name]) for name, value in layer.state_dict().items())
        trained = {name for name, parameter in outcome.candidate.module.named_parameters() if not parameter.requires_grad}
        assert trained == {f"{FROZEN}.weight", f"{FROZEN}.bias"}


@pytest.mark.parametrize("name", ["train", "distill parent", "prune exponential", "prune greg2", "prune hessian", "substitute"])
def test_what_earlier_use_left_does_not_matter(name: str, context: Context) -> None:
    results = []
    for used in (True, False):
        candidate = Candidate(context.data.spec, network(used=used))
        outcome = STAGES[name].run(candidate, replace(context, folder=context.folder / str(used)))
        results.append(outcome.candidate.network().state_dict())
    assert all(torch.equal(value, results[1][key]) for key, value in results[0].items())
