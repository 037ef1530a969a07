"""Chains that train a network which starts as an ONNX file: pruning, recovery of int8, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from compress.backends.random_inputs import load
from compress.core.errors import ConversionError, ModelError, RecipeError
from compress.core.network_spec import NetworkSpec
from compress.core.sentences import render
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.data.settings import DataSettings, DataSource
from compress.export.stage import Export
from compress.models.count_macs import count_network
from compress.models.saved_network import load as load_network
from compress.models.sources.onnx_conversion import converted_spec, fixed_axes
from compress.pipeline.pipeline import Pipeline, Run
from compress.prune.stage import Prune
from compress.quantize.stage import Quantize
from tests.models.sources.tiny_onnx_files import NETWORKS, write_network

IMAGE = TensorSpec(name="image", shape=(BATCH, 3, 16, 16))


def run(path: Path, folder: Path) -> Run:
    data = load(DataSettings(source=f"random:{path}", limit=48, evaluation_limit=16), DataSource("random", str(path), folder))
    recover = {"epochs": 1, "batch_size": 16, "lr": 1e-3}
    stages = [
        Prune(target={"macs": 0.8}, recover=recover, round_to=1, timing_seconds=0),
        Quantize(calibration={"samples": 16}, accept_if=None, recover=recover),
        Export(),
    ]
    return Pipeline("given", model=f"onnx:{path}", data=data, stages=stages, task="outputs").run(out=folder / "runs")


@pytest.mark.timeout(900)  # some 40 s of a core: three exports and two trainings
@pytest.mark.parametrize("kind", [kind if kind == "cnn" else pytest.param(kind, marks=pytest.mark.slow) for kind in NETWORKS])
def test_a_file_is_pruned_distilled_from_itself_and_recovered_in_int8(kind: str, tmp_path: Path) -> None:
    write_network(kind, tmp_path / "m.onnx")
    result = run(tmp_path / "m.onnx", tmp_path)
    pruned, quantized, exported = result.record.stages
    assert [stage.form for stage in (pruned, quantized, exported)] == ["torch", "onnx", "onnx"]
    assert result.record.start["similarity"].value == pytest.approx(1.0, abs=1e-5)
    assert pruned.after["macs"].value <= 0.85 * result.record.start["macs"].value
    assert pruned.after["similarity"].value > 0.5
    assert quantized.after["similarity"].value > 0.5
    assert any(note.code.startswith("quantize_ptq.recover") for note in quantized.notes)
    assert not any(note.code == "backends.batch_fixed" for stage in (pruned, quantized) for note in stage.notes)
    network = load_network(result.folder / "01-prune")
    spec = NetworkSpec.model_validate_json(result.record.spec.model_dump_json())
    assert count_network(network, spec).macs == pruned.after["macs"].value
    program = torch.export.load(result.folder / "01-prune" / "model.pt2").module()
    inputs = tuple(spec.signature.example(3).values())
    torch.testing.assert_close(program(*inputs), network(*inputs), atol=1e-4, rtol=1e-3)
    shipped = onnx.load(result.folder / "artifacts" / "host" / "model.onnx")
    assert any(node.op_type == "QuantizeLinear" for node in shipped.graph.node)
    assert any("accuracy is not measured, since there are no labels" in render(warning) for warning in result.record.warnings)


def test_inputs_and_outputs_are_those_of_the_file(tmp_path: Path) -> None:
    write_network("cnn", tmp_path / "m.onnx")
    given = NetworkSpec(signature=Signature(inputs=(IMAGE.model_copy(update={"name": "x"}),)))
    spec = converted_spec(tmp_path / "m.onnx", given)
    assert [each.name for each in spec.signature.inputs] == ["image"]
    assert [each.shape[0] for each in spec.signature.outputs] == [BATCH]
    two = NetworkSpec(signature=Signature(inputs=(IMAGE, IMAGE.model_copy(update={"name": "other"}))))
    with pytest.raises(ConversionError, match="takes image, and the data gives image, other"):
        converted_spec(tmp_path / "m.onnx", two)


def test_free_axes_that_the_data_fixes_are_named(tmp_path: Path) -> None:
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["n", 3, "height", 16]) for name in "xy"]
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:])), tmp_path / "m.onnx")
    spec = converted_spec(tmp_path / "m.onnx", NetworkSpec(signature=Signature(inputs=(IMAGE,))))
    (note,) = fixed_axes(tmp_path / "m.onnx", spec)
    assert "free axes of m.onnx are fixed to the sizes of the data in this chain (height 16)" in render(note)
    write_network("cnn", tmp_path / "fixed.onnx")
    assert fixed_axes(tmp_path / "fixed.onnx", converted_spec(tmp_path / "fixed.onnx", spec)) == ()


def test_an_input_without_an_axis_of_samples_cannot_be_trained_in_batches(tmp_path: Path) -> None:
    ends = [onnx.helper.make_tensor_value_info(name, 1, [2, 4]) for name in "xy"]
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:])), tmp_path / "m.onnx")
    given = NetworkSpec(signature=Signature(inputs=(TensorSpec(name="x", shape=(BATCH, 2, 4)),)))
    with pytest.raises(ConversionError, match="takes input 'x' without an axis of samples"):
        converted_spec(tmp_path / "m.onnx", given)


TEACHER_RECIPE = """
name: taught
data: {{source: digits, image_size: 8, channels: 1, limit: 64, evaluation_limit: 32}}
model: {{source: "python:net.py:small"}}
teacher: {{source: "onnx:teacher.onnx"}}
stages:
  - distill: {{epochs: 1, losses: [{{{loss}}}]}}
"""
STUDENT = """
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
"""
TEACHER = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 1, 8, 8] x) => (float[N, {classes}] y) {{
  h = Conv <kernel_shape = [3, 3]> (x, w)
  r = {operator} (h)
  f = Flatten (r)
  y = Gemm (f, head)
}}"""


def write_teacher(folder: Path, operator: str = "Relu", classes: int = 10) -> Path:
    """A student in Python, a teacher as file, and the recipe that takes both."""
    model = onnx.parser.parse_model(TEACHER.format(operator=operator, classes=classes))
    random = np.random.default_rng(0)
    shapes = {"w": (4, 1, 3, 3), "head": (144, classes)}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name) for name, shape in shapes.items()
    )
    onnx.save(model, folder / "teacher.onnx")
    (folder / "net.py").write_text(STUDENT)
    (folder / "recipe.yaml").write_text(TEACHER_RECIPE.format(loss="response: {}"))
    return folder / "recipe.yaml"


@pytest.mark.slow
def test_a_teacher_may_be_a_file(tmp_path: Path) -> None:
    record = Pipeline.load(write_teacher(tmp_path), smoke=True, trust_code=True).run(out=tmp_path / "runs").record
    (trained,) = record.stages
    assert trained.results
    assert record.teacher is not None
    assert record.teacher.form == "torch"
    assert record.teacher.after["parameters"].value == 4 * 9 + 144 * 10


def test_a_teacher_of_other_operators_or_classes_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"a teacher runs in torch, but operator Hardmax \(r\) of this ONNX file has no torch"
    ):
        Pipeline.load(write_teacher(tmp_path, operator="Hardmax"), smoke=True, trust_code=True)
    pipeline = Pipeline.load(write_teacher(tmp_path, classes=7), smoke=True, trust_code=True)
    with pytest.raises(ModelError, match="its last layer cannot be replaced: take data of its 7 classes"):
        pipeline.run(out=tmp_path / "runs")
