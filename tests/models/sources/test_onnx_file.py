"""A chain that starts from an ONNX file: what is prepared, and what is refused with its own sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.core.errors import ConversionError, RecipeError
from compress.core.sentences import render
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.named_arrays import load
from compress.export.stage import Export
from compress.models.sources.onnx_file import check_given_file, prepare_model
from compress.pipeline.pipeline import Pipeline
from compress.profile.stage import Profile
from compress.prune.stage import Prune
from compress.quantize.stage import Quantize

RANDOM = np.random.default_rng(0)


def dense(*, opset: int = 17, domain: str = "", weight_type: type = np.float32, extra: str = "Relu") -> onnx.ModelProto:
    """x W, then an operator."""
    weight = numpy_helper.from_array(RANDOM.normal(size=(6, 4)).astype(weight_type), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node(extra, ["h"], ["y"], domain=domain)]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(weight_type))
    ends = [helper.make_tensor_value_info("x", kind, ("n", 6)), helper.make_tensor_value_info("y", kind, ("n", 4))]
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight]), opset_imports=opsets, ir_version=8)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "given.onnx")
    return folder / "given.onnx"


def branching() -> onnx.ModelProto:
    """A product whose weight stands in both branches of an If."""
    weight = numpy_helper.from_array(RANDOM.normal(size=(6, 4)).astype(np.float32), "inner")
    out = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    branches = [
        helper.make_graph([helper.make_node("MatMul", ["h", "inner"], ["z"])], name, [], [out], [weight]) for name in "ab"
    ]
    first = numpy_helper.from_array(RANDOM.normal(size=(6, 6)).astype(np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("If", ["flag"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 6)),
        helper.make_tensor_value_info("flag", TensorProto.BOOL, ()),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 4))]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [first])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_files_that_cannot_be_compressed_are_refused_each_with_its_reason(tmp_path: Path) -> None:
    cases = {
        r"has custom operators \(my\.lab\.Magic\), which ONNX Runtime lacks": dense(domain="my.lab", extra="Magic"),
        "has no float weights of two or more axes": dense(weight_type=np.int32, extra="Neg"),
        r"is already quantized \(DynamicQuantizeLinear\); use the float file": dense(extra="DynamicQuantizeLinear"),
    }
    for message, model in cases.items():
        with pytest.raises(ConversionError, match=message):
            check_given_file(saved(model, tmp_path))


def test_an_output_that_is_a_list_is_refused(tmp_path: Path) -> None:
    model = dense(extra="SequenceConstruct")
    model.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, ("n", 4)))
    with pytest.raises(ConversionError, match="output 'y' is of type sequence; only tensors are supported"):
        check_given_file(saved(model, tmp_path))


def test_weights_stored_as_bytes_count_as_quantized(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(RANDOM.integers(-127, 127, (60, 40)).astype(np.int8), "w8")
    scale = numpy_helper.from_array(np.ones((1, 40), np.float32), "s")
    nodes = [
        helper.make_node("Cast", ["w8"], ["w0"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["w0", "s"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(*entry) for entry in (("x", 1, ("n", 60)), ("y", 1, ("n", 40)))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight, scale])
    path = saved(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path)
    with pytest.raises(ConversionError, match="most of its weights are 8-bit integers"):
        check_given_file(path)


def test_missing_external_data_is_said(tmp_path: Path) -> None:
    path = tmp_path / "given.onnx"
    onnx.save(dense(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ConversionError, match="its external data is missing or outside its folder"):
        check_given_file(path)


@pytest.mark.parametrize("custom", [True, False])
def test_a_chain_says_what_is_wrong_before_the_file_runs(custom: bool, tmp_path: Path) -> None:
    path = saved(dense(domain="my.lab", extra="Magic"), tmp_path) if custom else tmp_path / "given.onnx"
    if not custom:
        onnx.save(dense(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        (tmp_path / "weights.bin").unlink()
    message = r"has custom operators \(my.lab.Magic\)" if custom else "external data is missing or outside its folder"
    with pytest.raises(ConversionError, match=message):
        Pipeline("given", model=f"onnx:{path}", data=data(tmp_path, x=(6,)), stages=[Export()], task="outputs")


def test_old_operators_are_converted_and_compute_the_same() -> None:
    model = dense(opset=11)
    converted, notes = prepare_model(model, "m.onnx")
    assert [render(note) for note in notes] == [
        "operators of m.onnx converted from opset 11 to 17, which has what quantization needs"
    ]
    x = {"x": RANDOM.normal(size=(3, 6)).astype(np.float32)}
    before, after = (onnx_session.create_session(each).run(None, x)[0] for each in (model, converted))
    np.testing.assert_allclose(before, after, rtol=1e-6)
    names = [node.name for node in converted.graph.node]
    assert len(set(names)) == len(names)
    assert all(names)


def test_weights_in_branches_stay_in_float_and_the_record_says_so() -> None:
    _, notes = prepare_model(branching(), "m.onnx")
    assert render(notes[0]) == (
        "2 operators with weights inside If stay in float: operators in branches and loops are not quantized"
    )


def test_free_axes_written_as_minus_one_are_free() -> None:
    model = dense()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    prepared, _ = prepare_model(model, "m.onnx")
    assert graphs.dims(graphs.to_ir(prepared).graph.inputs[0]) == [0, 6]


def data(folder: Path, **shapes: tuple[int, ...]) -> Data:
    arrays = {name: RANDOM.normal(size=(24, *shape)).astype(np.float32) for name, shape in shapes.items()}
    np.savez(folder / "data.npz", **arrays)
    return load(DataSettings(source="npz:data.npz"), DataSource("npz", "data.npz", folder))


def test_a_chain_from_a_file_quantizes_exports_and_profiles_it(tmp_path: Path) -> None:
    path = saved(dense(opset=12), tmp_path)
    stages = [Quantize(calibration={"samples": 16}, accept_if=None), Export(), Profile(seconds=0.05)]
    pipeline = Pipeline("given", model=f"onnx:{path}", data=data(tmp_path, x=(6,)), stages=stages, task="outputs")
    run = pipeline.run(out=tmp_path / "runs")
    record = run.record
    assert [stage.form for stage in record.stages] == ["onnx", "onnx", "onnx"]
    assert record.start["similarity"].value == pytest.approx(1.0)
    assert 0.95 < (record.stages[0].after["similarity"].value or 0) < 1.0
    assert any("accuracy is not measured, since there are no labels" in render(warning) for warning in record.warnings)
    shipped = onnx.load(run.folder / "artifacts" / "host" / "model.onnx")
    assert any(node.op_type == "QuantizeLinear" for node in shipped.graph.node)
    x = RANDOM.normal(size=(5, 6)).astype(np.float32)
    exact, quantized = (onnx_session.create_session(each).run(None, {"x": x})[0] for each in (path, shipped))
    assert np.corrcoef(exact.ravel(), quantized.ravel())[0, 1] > 0.99
    again = Pipeline("given", model=f"onnx:{path}", data=data(tmp_path, x=(6,)), stages=stages, task="outputs")
    assert again.plan.model.key == pipeline.plan.model.key


def test_a_network_whose_weights_all_stand_in_branches_says_that_nothing_is_quantized(tmp_path: Path) -> None:
    model = branching()
    product = model.graph.node[0]
    product.op_type = "Identity"
    del product.input[1], model.graph.initializer[:]
    path = saved(model, tmp_path)
    arrays = {"x": RANDOM.normal(size=(24, 6)).astype(np.float32), "flag": np.ones(24, bool)}
    np.savez(tmp_path / "data.npz", **arrays)
    given = load(DataSettings(source="npz:data.npz"), DataSource("npz", "data.npz", tmp_path))
    stages = [Quantize(calibration={"samples": 16}, accept_if=None), Export()]
    run = Pipeline("given", model=f"onnx:{path}", data=given, stages=stages, task="outputs").run(out=tmp_path / "runs")
    (warning,) = (render(fact) for fact in run.record.stages[0].warnings if fact.code == "quantize.nothing_in_int8")
    assert warning.startswith("nothing of this network is quantized")
    pairs = [row["pair"] for row in run.record.stages[1].tables["parity"]]
    assert not any("int8" in pair for pair in pairs)


def test_data_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = saved(dense(), tmp_path)
    pipeline = Pipeline("given", model=f"onnx:{path}", data=data(tmp_path, x=(5,)), stages=[Export()], task="outputs")
    with pytest.raises(ConversionError, match=r"input 'x' of .* has shape any×6, but the data has 2×5"):
        pipeline.run(out=tmp_path / "runs")


def test_stages_that_train_are_refused_before_anything_runs(tmp_path: Path) -> None:
    path = saved(dense(extra="Hardmax"), tmp_path)
    sentence = (
        r"prune needs a network that can be trained, but operator Hardmax \(y\) of this ONNX file has no torch equivalent here"
    )
    with pytest.raises(RecipeError, match=sentence):
        Pipeline(
            "given", model=f"onnx:{path}", data=data(tmp_path, x=(6,)), stages=[Prune(target={"macs": 0.5})], task="outputs"
        )
