from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.sentences import render, render_subject
from compress.core.stage import Candidate, Context
from compress.quantize.analysis.sqnr import decibels
from compress.quantize.bfloat16 import OPSET, emulate_bfloat16, round_array, to_bfloat16
from compress.quantize.stage import Quantize
from tests.export.tiny import SPEC, Target, split

X = split(16, 5).inputs.numpy()
JETSON, HERE = Target("jetson", "tensorrt"), Target("host", "onnxruntime")


def answers(model: onnx.ModelProto) -> np.ndarray:
    return onnx_session.run(onnx_session.create_session(model), X)


def test_rounding_is_torchs_own() -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32) * 10.0 ** np.arange(-20, 20).repeat(25)
    values = np.concatenate([values, [0.0, 1.00390625, 1.01171875, -1.00390625]]).astype(np.float32)  # ties to even
    model = ir.Model(ir.Graph([], [], nodes=[], opset_imports={"": 22}), ir_version=10)
    rounded = round_array(graphs.add_initializer(model, "w", values))
    exact = torch.from_numpy(values).bfloat16().view(torch.int16).numpy()
    np.testing.assert_array_equal(rounded.view(np.int16), exact)


def test_the_emulation_answers_as_torch_does_in_bfloat16(network: nn.Module, exported: Path) -> None:
    """Both round every tensor; torch's convolutions may add in another order, so they part where a sum is near a tie."""
    model = onnx_files.load(exported)
    exact, result = answers(model), answers(graphs.to_proto(emulate_bfloat16(graphs.to_ir(model))))
    with torch.inference_mode():
        native = copy.deepcopy(network).to(torch.bfloat16)(torch.from_numpy(X).bfloat16()).float().numpy()
    assert decibels(exact, result) > 30
    assert abs(decibels(exact, result) - decibels(exact, native)) < 6
    assert not np.array_equal(exact, result)


def test_every_tensor_of_the_emulation_is_one_of_bfloat16s(exported: Path) -> None:
    model = graphs.to_proto(emulate_bfloat16(graphs.to_ir(onnx_files.load(exported))))
    onnx_files.check(model)
    result = answers(model)
    assert not (result.view(np.uint32) & 0xFFFF).any()


def test_the_networks_weights_and_tensors_are_bfloat16_and_its_ends_float32(exported: Path) -> None:
    model = onnx_files.load(exported)
    before = model.SerializeToString()
    converted, skipped = to_bfloat16(graphs.to_ir(model))
    quantized = graphs.to_proto(converted)
    assert (model.SerializeToString(), skipped) == (before, ())
    onnx_files.check(quantized)
    assert quantized.opset_import[0].version == OPSET
    kinds = {tensor.data_type for tensor in quantized.graph.initializer if len(tensor.dims) > 1}
    assert kinds == {TensorProto.BFLOAT16}
    ends = {value.type.tensor_type.elem_type for value in (*quantized.graph.input, *quantized.graph.output)}
    assert ends == {TensorProto.FLOAT}
    assert [node.op_type for node in quantized.graph.node].count("Cast") == 2
    assert {node.name for node in model.graph.node} <= {node.name for node in quantized.graph.node}
    assert len(quantized.SerializeToString()) < 0.7 * len(before)


def test_what_is_kept_stays_in_float32_between_casts(exported: Path) -> None:
    model = onnx_files.load(exported)
    quantized = graphs.to_proto(to_bfloat16(graphs.to_ir(model), exclude=("wide",))[0])
    onnx_files.check(quantized)
    kinds = {tensor.name: tensor.data_type for tensor in quantized.graph.initializer}
    wide = next(node for node in quantized.graph.node if node.name == "wide")
    assert {kinds[name] for name in wide.input[1:]} == {TensorProto.FLOAT}
    assert [node.op_type for node in quantized.graph.node].count("Cast") == 4
    remaining = graphs.to_proto(emulate_bfloat16(graphs.to_ir(model), exclude=("wide",)))
    assert "wide.weight_bf16" not in {tensor.name for tensor in remaining.graph.initializer}


def test_inputs_of_a_fixed_type_and_operators_without_bfloat16_stay_in_float32() -> None:
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["r"], "resize", mode="nearest"),
        helper.make_node("Celu", ["r"], ["c"], "celu"),
        helper.make_node("Relu", ["c"], ["y"], "relu"),
    ]
    value = helper.make_tensor_value_info
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, [1, 2, 3, 3])], [value("y", TensorProto.FLOAT, None)], [scales]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    converted, (skip,) = to_bfloat16(graphs.to_ir(model))
    quantized = graphs.to_proto(converted)
    onnx_files.check(quantized)
    assert {tensor.data_type for tensor in quantized.graph.initializer} == {TensorProto.FLOAT}
    assert skip == Fact.of("quantize.float_no_bfloat16", "celu", operator="Celu", opset=OPSET)
    assert (render_subject(skip), "no bfloat16" in render(skip)) == ("Celu celu", True)
    assert [node.op_type for node in quantized.graph.node] == ["Cast", "Resize", "Cast", "Celu", "Cast", "Relu", "Cast"]


def test_a_tensorrt_target_gets_bfloat16_and_the_record_says_what_was_measured(
    network: nn.Module, context: Context, exported: Path
) -> None:
    context = dataclasses.replace(context, targets=(JETSON,))
    outcome = Quantize(scheme="bf16").run(Candidate(SPEC, network), context)
    assert set(outcome.candidate.files) == {"onnxruntime", "tensorrt"}
    quantized = onnx_files.load(outcome.candidate.files["tensorrt"])
    assert TensorProto.BFLOAT16 in {tensor.data_type for tensor in quantized.graph.initializer}
    assert onnx_files.read_metadata(outcome.candidate.files["tensorrt"]) == onnx_files.read_metadata(exported)
    assert outcome.results["agreement"].value >= 0.95
    assert Fact.of("quantize.bfloat16_emulated") in outcome.notes
    assert [skip.code for skip in outcome.skipped] == ["quantize.bfloat16_not_measured"]


@pytest.mark.parametrize("targets", [(), (HERE,), (JETSON, HERE)])
def test_asked_of_a_runtime_without_it_it_says_which_have_it(
    network: nn.Module, context: Context, targets: tuple[Target, ...]
) -> None:
    context = dataclasses.replace(context, targets=targets)
    with pytest.raises(ConversionError, match=r"onnxruntime does not support scheme 'bf16', which tensorrt supports"):
        Quantize(scheme="bf16").run(Candidate(SPEC, network), context)
    assert list(context.folder.iterdir()) == []
