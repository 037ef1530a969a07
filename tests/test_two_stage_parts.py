"""Parts of the chain of a small detector of two stages: channels that can be pruned, and the exported file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from compress.backends.export_onnx import export_onnx
from compress.backends.export_program import export_program
from compress.backends.run_split import run_split
from compress.core.network_spec import NetworkSpec
from compress.core.sentences import render
from compress.data.factory import load_data
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.models.sources.torchvision_two_stage import small_two_stage
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.structured.channels import ChannelPruner
from compress.tasks.detection import Detection

SETTINGS = DataSettings(source="drawn_boxes", image_size=64, samples=62, evaluation_limit=8, augment="none")


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(SETTINGS, base=Path())


@pytest.fixture(scope="module")
def spec(data: Data) -> NetworkSpec:
    return Detection().complete_spec(data.spec)


def detector(spec: NetworkSpec, width: int = 8) -> nn.Module:
    """With answers that differ from place to place."""
    torch.manual_seed(0)
    network = small_two_stage(len(spec.classes), (64, 64), width=width, proposals=16)
    for name, parameter in network.named_parameters():
        if name.startswith(("rpn.head", "roi_heads.box_predictor")):
            torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


def test_all_layers_but_outputs_can_be_pruned_and_the_readers_of_regions_follow(spec: NetworkSpec) -> None:
    network = detector(spec)
    pruner = ChannelPruner(network, spec, measure="macs", ranking="local", limits=Constraints(round_to=1))
    fixed = {
        "rpn.head.cls_logits",
        "rpn.head.bbox_pred",
        "roi_heads.box_predictor.cls_score",
        "roi_heads.box_predictor.bbox_pred",
    }
    assert {fact.subject for fact in pruner.skipped} == fixed, [render(fact) for fact in pruner.skipped]
    pruned = pruner.prune(network, 0.5, magnitude()).module
    pyramid = pruned.get_submodule("backbone.neck8.0").out_channels  # type: ignore[attr-defined]
    assert pyramid < 16
    assert pruned.get_submodule("backbone.lateral16.0").out_channels == pyramid  # type: ignore[attr-defined]
    assert pruned.get_submodule("rpn.head.conv.0.0").in_channels == pyramid  # type: ignore[attr-defined]
    assert pruned.get_submodule("roi_heads.box_head.fc6").in_features == pyramid * 25  # type: ignore[attr-defined]


def test_the_exported_file_has_the_map_of_the_torch_network_and_no_program_is_written(
    data: Data, spec: NetworkSpec, tmp_path: Path
) -> None:
    network, task = detector(spec, width=4), Detection()
    assert export_onnx(network, spec, tmp_path / "model.onnx", split=data.validation) == ()
    expected = run_split(network, data.test, task)
    assert run_split(tmp_path / "model.onnx", data.test, task).metric == pytest.approx(expected.metric, abs=1e-3)
    assert float(expected.scores[:, :300].sum()) > 0  # there are detections
    (fact,) = export_program(network, spec, tmp_path / "model.pt2")
    assert "are operators of this package" in render(fact)
    assert not (tmp_path / "model.pt2").exists()
