"""Networks are cut where one tensor is alive, and parts of one module are merged."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import onnx_ir as ir
import pytest
from torch import Tensor, nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.quantize.ptq.partition_blocks import partition_blocks
from compress.quantize.ptq.weighted_layers import weighted_layers
from tests.export.tiny import SPEC


@pytest.fixture(scope="module")
def model(exported: Path) -> ir.Model:
    return graphs.to_ir(onnx_files.load(exported))


def test_residual_blocks_stay_whole_and_chains_are_cut(model: ir.Model) -> None:
    blocks = partition_blocks(model, weighted_layers(model))
    assert [[layer.name for layer in block.layers] for block in blocks] == [
        ["stem.0"], ["depthwise.0", "point.0"], ["wide"], ["head"],
    ]  # fmt: skip
    assert blocks[0].start == "input"
    assert blocks[-1].stop == "logits"
    assert all(before.stop == after.start for before, after in pairwise(blocks))
    assert [node.name for block in blocks for node in block.nodes] == [node.name for node in model.graph]


def test_an_inverted_bottleneck_without_a_skip_is_one_block(tmp_path: Path) -> None:
    class Bottleneck(nn.Module):
        def __init__(self, width: int, stride: int) -> None:
            super().__init__()
            hidden = nn.Conv2d(width, 2 * width, 1), nn.ReLU(), nn.Conv2d(2 * width, 2 * width, 3, stride, 1, groups=2 * width)
            self.conv, self.skips = nn.Sequential(*hidden, nn.ReLU(), nn.Conv2d(2 * width, width, 1)), stride == 1

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv(x) if self.skips else self.conv(x)

    layers = nn.Sequential(nn.Conv2d(3, 4, 3), Bottleneck(4, 2), Bottleneck(4, 1), nn.AdaptiveAvgPool2d(1))
    export_onnx(nn.Sequential(layers, nn.Flatten(), nn.Linear(4, 4)).eval(), SPEC, tmp_path / "model.onnx")
    model = graphs.to_ir(onnx_files.load(tmp_path / "model.onnx"))
    assert [str(block) for block in partition_blocks(model, weighted_layers(model))] == ["0.0", "0.1.conv", "0.2.conv", "2"]
