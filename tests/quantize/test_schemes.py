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
from compress.config.devices import load_device
from compress.core.errors import ConversionError
from compress.profile.cost_model.estimate import estimate
from compress.profile.cost_model.operator_work import macs
from compress.quantize.analysis.sqnr import decibels
from compress.quantize.qdq.placement import PLACEMENTS
from compress.quantize.schemes import SchemeOptions, build_models, check_runtimes, dynamic_int8, to_fp16
from compress.quantize.stage import Quantize
from compress.quantize.target_requirements import SCHEME_RUNTIMES, Scheme
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


def test_int4_packs_linear_layers_and_stores_the_rest_in_int4(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    quantized = build_models("weight_int4", graphs.to_ir(model), ("onnxruntime",)).models["onnxruntime"]
    onnx_files.check(quantized)
    assert [node.op_type for node in quantized.graph.node].count("MatMulNBits") == 2
    assert stored(quantized)[onnx.TensorProto.INT4] == 3 * 64 * 9
    assert decibels(answers(model), answers(quantized)) > 14
    assert model.SerializeToString() == before
    assert len(quantized.SerializeToString()) < 0.45 * len(before)


def test_dynamic_has_integer_products_in_the_runtime(model: onnx.ModelProto) -> None:
    quantized = graphs.to_proto(dynamic_int8(graphs.to_ir(model), SchemeOptions(seven_bits=True)))
    operators = {node.op_type for node in quantized.graph.node}
    assert "MatMulInteger" in operators
    assert "Conv" in operators
    assert decibels(answers(model), answers(quantized)) > 25


def test_half_is_half_the_size_with_float_ends(model: onnx.ModelProto) -> None:
    quantized = graphs.to_proto(to_fp16(graphs.to_ir(model)))
    kinds = {value.type.tensor_type.elem_type for value in (*quantized.graph.input, *quantized.graph.output)}
    assert kinds == {onnx.TensorProto.FLOAT}
    assert set(stored(quantized)) == {onnx.TensorProto.FLOAT16}
    assert decibels(answers(model), answers(quantized)) > 45
    assert len(quantized.SerializeToString()) < 0.7 * len(model.SerializeToString())


@pytest.mark.parametrize("scheme", ["dynamic_int8", "weight_int8", "weight_int4", "fp16", "bf16"])
def test_every_file_is_valid_and_has_an_estimate(model: onnx.ModelProto, scheme: Scheme, tmp_path: Path) -> None:
    """Nodes stand behind those whose results they read, so that shapes can be inferred."""
    runtimes = SCHEME_RUNTIMES[scheme]
    built = build_models(scheme, graphs.to_ir(model), runtimes)
    onnx_files.save(model, tmp_path / "float.onnx")
    for runtime in runtimes:
        path = tmp_path / f"{runtime}.onnx"
        onnx_files.check(built.models[runtime])
        onnx_files.save(built.models[runtime], path)
        assert macs(path) == macs(tmp_path / "float.onnx")
        assert estimate(path, load_device("l4")).latency_ms > 0


def test_int4_asked_of_a_runtime_without_it_says_which_have_it() -> None:
    with pytest.raises(ConversionError, match=r"tensorrt does not support scheme 'weight_int4', which onnxruntime.*int8"):
        check_runtimes("weight_int4", ("onnxruntime", "tensorrt"))


def test_every_scheme_and_runtime_is_known() -> None:
    assert Quantize.model_json_schema()["properties"]["scheme"]["enum"] == ["auto", *SCHEME_RUNTIMES]
    assert {family for families in SCHEME_RUNTIMES.values() for family in families} <= set(PLACEMENTS)
    check_runtimes("int8", tuple(PLACEMENTS))
