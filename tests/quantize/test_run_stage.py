from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from torch import nn

from compress.backends import onnx_files, onnx_session
from compress.config.devices import load_device
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.sentences import render, render_subject
from compress.core.stage import Candidate, Context, Outcome
from compress.data.interface import Data
from compress.quantize.stage import Quantize
from tests.export.tiny import SPEC, Target, TinySplit, split
from tests.quantize.encoder import SPEC as ENCODER_SPEC
from tests.quantize.encoder import encoder, encoder_file, feeds, text_split

JETSON = Target("jetson", "tensorrt")


def facts_of(outcome: Outcome, code: str) -> list[Fact]:
    return [note for note in outcome.notes if note.code == code]


def test_int8_agrees_is_small_and_describes_itself(network: nn.Module, context: Context, exported: Path) -> None:
    outcome = Quantize().run(Candidate(SPEC, network, lineage=("a",)), context)
    results, quantized = outcome.results, outcome.candidate
    assert quantized.form == "onnx"
    assert quantized.lineage == ("a",)
    assert quantized.files == {"onnxruntime": context.folder / "model.onnx"}
    assert results["agreement"].value >= 0.95
    assert results["agreement"].runs == 60
    assert results["accuracy_validation_int8"].value >= results["accuracy_validation_float"].value - 0.05
    assert results["size_ratio"].value == (context.folder / "model.onnx").stat().st_size / exported.stat().st_size
    assert onnx_files.read_metadata(quantized.files["onnxruntime"]) == onnx_files.read_metadata(exported)
    onnx.checker.check_model(str(quantized.files["onnxruntime"]), full_check=True)
    assert outcome.skipped == ()


def test_large_enough_network_shrinks_to_under_035(tmp_path: Path, context: Context) -> None:
    import torch

    from compress.backends.export_onnx import export_onnx

    net = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(64, 4),
    ).eval()  # fmt: skip
    path = tmp_path / "float.onnx"
    export_onnx(net, SPEC, path)
    outcome = Quantize().run(Candidate(SPEC, net), dataclasses.replace(context, to_onnx=lambda _: path))
    assert outcome.results["size_ratio"].value < 0.35
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_int8_takes_any_batch(network: nn.Module, context: Context, batch: int) -> None:
    quantized = Quantize(calibration={"method": "minmax"}).run(Candidate(SPEC, network), context).candidate
    x = split(8, 1).inputs.numpy()
    runner = onnx_session.create_session(quantized.files["onnxruntime"])
    np.testing.assert_allclose(onnx_session.run(runner, x[:batch]), onnx_session.run(runner, x)[:batch], rtol=1e-5)


def test_a_tensorrt_target_gets_a_file_of_its_own(network: nn.Module, context: Context) -> None:
    context = dataclasses.replace(context, targets=(JETSON,))
    outcome = Quantize().run(Candidate(SPEC, network), context)
    assert outcome.candidate.files == {
        "onnxruntime": context.folder / "model.onnx",
        "tensorrt": context.folder / "model.tensorrt.onnx",
    }
    assert {note.subject for note in facts_of(outcome, "quantize.numeric_format")} == {"onnxruntime", "tensorrt"}


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile", "mse", "sample_normalized_mse"])
def test_every_method_agrees_with_float(network: nn.Module, context: Context, method: str) -> None:
    outcome = Quantize(calibration={"method": method, "samples": 64}).run(Candidate(SPEC, network), context)
    assert outcome.results["agreement"].value >= 0.9


def test_equal_seeds_give_equal_files(network: nn.Module, context: Context, tmp_path: Path) -> None:
    stage = Quantize(calibration={"samples": 32})
    first = stage.run(Candidate(SPEC, network), context).candidate.files["onnxruntime"].read_bytes()
    again = stage.run(Candidate(SPEC, network), context).candidate.files["onnxruntime"].read_bytes()
    other = (
        stage.run(Candidate(SPEC, network), dataclasses.replace(context, seed=1)).candidate.files["onnxruntime"].read_bytes()
    )
    assert first == again != other


class Forbidden(TinySplit):
    def ordered(self, _: int):  # type: ignore[no-untyped-def]
        raise AssertionError("looked at")


def test_test_split_is_never_looked_at(network: nn.Module, context: Context) -> None:
    data = dataclasses.replace(context.data, test=Forbidden(*dataclasses.astuple(split(4, 0))[:2]))
    Quantize(calibration={"method": "minmax"}).run(Candidate(SPEC, network), dataclasses.replace(context, data=data))


def test_empty_training_split_is_refused_and_nothing_is_written(network: nn.Module, context: Context) -> None:
    data = Data(SPEC, split(0, 0), split(10, 1), split(10, 2))
    with pytest.raises(ConversionError, match="training split is empty"):
        Quantize().run(Candidate(SPEC, network), dataclasses.replace(context, data=data))
    assert list(context.folder.iterdir()) == []


def test_kept_nodes_are_recorded(network: nn.Module, context: Context) -> None:
    outcome = Quantize(keep_float=("head",)).run(Candidate(SPEC, network), context)
    (skip,) = outcome.skipped
    assert (skip.code, skip.subject) == ("quantize.float_by_keep_float", "head")
    assert render_subject(skip) == "Gemm head (onnxruntime)"


@pytest.mark.parametrize("scheme", ["dynamic_int8", "weight_int8", "weight_int4", "fp16"])
def test_other_schemes_give_a_file_that_agrees_and_is_smaller(network: nn.Module, context: Context, scheme: str) -> None:
    outcome = Quantize(scheme=scheme).run(Candidate(SPEC, network), context)
    assert outcome.results["agreement"].value >= (0.8 if scheme == "weight_int4" else 0.95)
    assert outcome.results[f"accuracy_validation_{scheme}"].runs == 60
    assert onnx_files.read_metadata(outcome.candidate.files["onnxruntime"])["classes"] == list(SPEC.classes)


def test_int4_for_a_jetson_is_refused_before_anything_is_written(network: nn.Module, context: Context) -> None:
    context = dataclasses.replace(context, targets=(JETSON,))
    with pytest.raises(ConversionError, match="which onnxruntime"):
        Quantize(scheme="weight_int4").run(Candidate(SPEC, network), context)
    assert list(context.folder.iterdir()) == []


def test_all_passes_together_agree_and_are_recorded(network: nn.Module, context: Context) -> None:
    ptq = {
        "equalize": True,
        "weights": {"bits": 4, "range": "mse", "rounding": "adaround", "iterations": 30},
        "bias_correction": "empirical",
    }
    stage = Quantize(ptq=ptq, calibration={"samples": 64})
    outcome = stage.run(Candidate(SPEC, network), context)
    assert outcome.results["agreement"].value >= 0.85
    assert outcome.results["sqnr_worst_layer_db"].value <= min(row["sqnr_db"] for row in outcome.tables["layer_sqnr"]) + 1e-3
    assert facts_of(outcome, "quantize_ptq.pairs_equalized")
    (calibrated,) = facts_of(outcome, "quantize.calibrated")
    assert calibrated.values == {"method": "sample_normalized_mse", "images": 64, "seed": 0}
    (numeric_format,) = facts_of(outcome, "quantize.numeric_format")
    assert numeric_format.values["bits"] == 4
    assert "4-bit weights stored as int8" in render(numeric_format)
    first = outcome.candidate.files["onnxruntime"].read_bytes()
    assert stage.run(Candidate(SPEC, network), context).candidate.files["onnxruntime"].read_bytes() == first


def test_channels_that_were_rescaled_do_not_count_as_noise(network: nn.Module, context: Context) -> None:
    stage = Quantize(ptq={"equalize": True, "smooth": 1.0}, accept_if=None)
    outcome = stage.run(Candidate(SPEC, module=network), context)
    assert facts_of(outcome, "quantize_ptq.pairs_equalized")
    assert outcome.results["sqnr_worst_layer_db"].value > 15


def test_symmetric_activations_on_request(network: nn.Module, context: Context) -> None:
    quantized = Quantize(symmetric=True).run(Candidate(SPEC, network), context).candidate
    model = onnx.load(quantized.files["onnxruntime"])
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    zeros = {kinds[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert zeros == {onnx.TensorProto.INT8}


def test_auto_takes_what_the_profile_wants(network: nn.Module, context: Context) -> None:
    precision = host_precision().model_copy(
        update={"activations": "int8", "symmetric_activations": True, "per_channel_weights": False}
    )  # fmt: skip
    target = dataclasses.replace(Target("board", "onnxruntime"), precision=precision)
    context = dataclasses.replace(context, targets=(target,))
    outcome = Quantize().run(Candidate(SPEC, network), context)
    graph = onnx.load(outcome.candidate.files["onnxruntime"]).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    zeros = [constants[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {zero.data_type for zero in zeros} == {onnx.TensorProto.INT8}
    scales = [constants[node.input[1]] for node in graph.node if node.op_type == "DequantizeLinear"]
    assert all(onnx.numpy_helper.to_array(scale).size == 1 for scale in scales)
    (numeric_format,) = facts_of(outcome, "quantize.numeric_format")
    assert numeric_format.values["symmetric"]
    assert "onnxruntime: symmetric int8 activations" in render(numeric_format)
    assert Quantize().cache_inputs((target,)) != Quantize().cache_inputs((Target("board", "onnxruntime"),))


def host_precision():  # type: ignore[no-untyped-def]
    return load_device("host").precision


def test_the_count_of_what_stays_in_float_is_of_operators_alone(network: nn.Module, context: Context) -> None:
    stage = Quantize(keep_float=("wide",))
    outcome = stage.run(Candidate(SPEC, network), dataclasses.replace(context, targets=(JETSON,)))
    assert len(outcome.skipped) > 1
    assert Fact.of("quantize.float_operators", count=1) in outcome.notes


def test_mixed_precision_keeps_few_layers_in_float_and_records_why(network: nn.Module, context: Context) -> None:
    stage = Quantize(ptq={"weights": {"bits": 2}}, mixed={"accuracy_drop": 0.02})
    outcome = stage.run(Candidate(SPEC, network), context)
    assert outcome.results["drop_validation"].value <= 0.02
    (note,) = facts_of(outcome, "quantize.mixed_precision")
    assert note.values["layers"] == 5
    assert note.values["within_budget"]
    floats = [skip.subject for skip in outcome.skipped if skip.code == "quantize.float_by_mixed_precision"]
    assert 1 <= len(floats) < 5
    assert sorted(floats) == sorted(note.values["float_layers"])
    assert len(outcome.tables["sensitivity"]) == 5


def test_constant_images_are_refused(network: nn.Module, context: Context) -> None:
    flat = split(40, 0)
    flat.inputs[:] = 0.5
    data = dataclasses.replace(context.data, train=flat)
    with pytest.raises(ConversionError, match="all 40 calibration samples are constant"):
        Quantize().run(Candidate(SPEC, network), dataclasses.replace(context, data=data))
    assert list(context.folder.iterdir()) == []


def test_a_black_calibration_image_is_left_out_where_the_network_divides_by_its_deviation(
    context: Context, tmp_path: Path
) -> None:
    class Standardized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))

        def forward(self, x):
            return self.net((x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True))

    from compress.backends.export_onnx import export_onnx

    network, data = Standardized().eval(), split(40, 0)
    data.inputs[7] = 0.0
    export_onnx(network, SPEC, tmp_path / "float.onnx")
    context = dataclasses.replace(
        context, data=dataclasses.replace(context.data, train=data), to_onnx=lambda _: tmp_path / "float.onnx"
    )
    outcome = Quantize(accept_if=None).run(Candidate(SPEC, network), context)
    left_out = Fact.of("quantize.calibration_images_left_out", count=1, images=40)
    assert (outcome.warnings, left_out in outcome.notes) == ((left_out,), True)
    assert outcome.results["agreement"].value >= 0.9
    assert "1 of 40 calibration samples are not used" in render(left_out)


def test_one_image_is_taken_with_a_warning(network: nn.Module, context: Context) -> None:
    data = dataclasses.replace(context.data, train=split(1, 0))
    outcome = Quantize().run(Candidate(SPEC, network), dataclasses.replace(context, data=data))
    (few,) = outcome.warnings
    assert few == Fact.of("quantize.few_calibration_images", images=1, recommended=16)
    assert few in outcome.notes


@pytest.fixture
def encoder_context(make_context: Callable[..., Context]) -> Context:
    data = Data(ENCODER_SPEC, text_split(32, 0), text_split(40, 1), text_split(8, 2))
    return make_context(data, to_onnx=lambda _: encoder_file(), targets=(load_device("host"),))


@pytest.mark.parametrize(
    ("scheme", "operator"),
    [
        ("dynamic_int8", "MatMulInteger"),
        pytest.param("int8", "QuantizeLinear", marks=pytest.mark.slow),
        pytest.param("weight_int4", "MatMulNBits", marks=pytest.mark.slow),
    ],
)
def test_encoders_with_free_length_are_quantized_and_timed_at_the_lengths_they_serve(
    encoder_context: Context, monkeypatch: pytest.MonkeyPatch, scheme: str, operator: str
) -> None:
    monkeypatch.setattr("compress.quantize.fuse_files.SECONDS", 0.01)
    monkeypatch.setattr("compress.quantize.weight_only.choose_blocks.SECONDS", 0.01)
    settings = {"accept_if": {"accuracy_drop": 0.3, "seconds": 0.02, "keep": "quantized"}}
    ptq = {"ptq": {"smooth": 0.5}} if scheme == "int8" else {}
    outcome = Quantize(scheme=scheme, **settings, **ptq).run(Candidate(ENCODER_SPEC, encoder()), encoder_context)
    assert outcome.results["agreement"].value >= 0.8
    assert outcome.results["size_ratio"].value < 0.5
    path = outcome.candidate.files["onnxruntime"]
    operators = [node.op_type for node in onnx_files.load(path).graph.node]
    assert operator in operators
    rows = outcome.tables["acceptance_by_size"]
    assert [(row["network"], row["sizes"]) for row in rows] == [
        (network, f"sequence {length}") for length in (16, 48) for network in ("float", "quantized")
    ]
    assert [row["speedup"] is None for row in rows] == [True, False, True, False]
    if scheme == "weight_int4":
        assert [(row["block"], row["accuracy_level"]) for row in outcome.tables["blocks"]] == [
            (block, level) for block in (32, 128) for level in (0, 4)
        ]
        assert sum(row["chosen"] for row in outcome.tables["blocks"]) == 1
    session = onnx_session.create_session(path)
    for length in (2, 31):
        assert session.run(None, feeds(3, length))[0].shape == (3, 3)


@pytest.mark.slow
def test_mixed_precision_keeps_layers_of_a_dynamic_network_in_float(encoder_context: Context) -> None:
    context = dataclasses.replace(encoder_context, targets=())
    size = encoder_file().stat().st_size
    outcome = Quantize(scheme="dynamic_int8", mixed={"size_bytes": int(0.5 * size)}).run(
        Candidate(ENCODER_SPEC, encoder()), context
    )
    (note,) = facts_of(outcome, "quantize.mixed_precision")
    path = outcome.candidate.files["onnxruntime"]
    assert path.stat().st_size <= 0.5 * size
    operators = [node.op_type for node in onnx_files.load(path).graph.node]
    kept = len(note.values["float_layers"])
    assert 0 < kept < 13
    assert operators.count("MatMulInteger") == 13 - kept
    with pytest.raises(ValueError, match="mixed is for static int8"):
        Quantize(scheme="weight_int8", mixed={"size_mb": 1})
