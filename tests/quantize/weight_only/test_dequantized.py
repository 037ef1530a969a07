from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.quantize.analysis.sqnr import decibels
from compress.quantize.target_requirements import SCHEME_RUNTIMES
from compress.quantize.weight_only.dequantized import GROUP, dequantized_weights
from tests.export.tiny import SPEC, split

X = split(24, 3).inputs.numpy()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """A convolution and linear layers, wide enough for groups."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 48), nn.ReLU(),
            nn.Linear(48, 4),
        ).eval()  # fmt: skip
    path = tmp_path_factory.mktemp("schemes") / "model.onnx"
    export_onnx(net, SPEC, path)
    return onnx_files.load(path)


def answers(model: onnx.ModelProto) -> np.ndarray:
    return onnx_session.run(onnx_session.create_session(model), X)


def stored(model: onnx.ModelProto) -> dict[int, int]:
    """Weights by data type."""
    found: dict[int, int] = {}
    for tensor in model.graph.initializer:
        if len(tensor.dims) >= 2:
            found[tensor.data_type] = found.get(tensor.data_type, 0) + int(np.prod(tensor.dims))
    return found


@pytest.mark.parametrize(("bits", "kind", "least"), [(8, onnx.TensorProto.INT8, 38), (4, onnx.TensorProto.INT4, 14)])
def test_weights_alone_become_integers(model: onnx.ModelProto, bits: int, kind: int, least: float) -> None:
    before = model.SerializeToString()
    quantized = graphs.to_proto(dequantized_weights(graphs.to_ir(model), bits))
    onnx_files.check(quantized)
    weights = 3 * 64 * 9 + 64 * 48 + 48 * 4
    assert stored(quantized)[kind] == weights
    assert model.SerializeToString() == before
    assert decibels(answers(model), answers(quantized)) > least
    assert [node.op_type for node in quantized.graph.node].count("DequantizeLinear") == 3
    assert len(quantized.SerializeToString()) < (0.45 if bits == 8 else 0.4) * len(before)


def test_int4_has_a_step_for_each_group_of_inputs(model: onnx.ModelProto) -> None:
    quantized = graphs.to_proto(dequantized_weights(graphs.to_ir(model), 4))
    scales = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in quantized.graph.initializer
        if tensor.name.endswith("_scales")
    }
    assert {name.split(".")[0]: scale.shape for name, scale in scales.items()} == {
        "0": (64,),
        "4": (48, 64 // GROUP),
        "6": (4,),
    }


def test_excluded_weights_stay(model: onnx.ModelProto) -> None:
    quantized = graphs.to_proto(dequantized_weights(graphs.to_ir(model), 8, exclude=("4", "6")))
    assert stored(quantized) == {onnx.TensorProto.INT8: 3 * 64 * 9, onnx.TensorProto.FLOAT: 64 * 48 + 48 * 4}


@pytest.mark.parametrize("bits", [8, 4])
def test_openvino_runs_what_the_table_says_it_has(model: onnx.ModelProto, bits: int, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from compress.backends.open_runner import open_runner

    if "openvino" not in SCHEME_RUNTIMES[f"weight_int{bits}"]:
        pytest.skip("the table does not say so")
    onnx_files.save(graphs.to_proto(dequantized_weights(graphs.to_ir(model), bits)), tmp_path / "model.onnx")
    with open_runner("openvino", tmp_path / "model.onnx") as runner:
        assert decibels(answers(model), runner.run({"input": X})[0]) > 10
