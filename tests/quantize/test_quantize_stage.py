from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from pydantic import ValidationError
from tiny import SPEC, Target, TinySplit, split
from torch import nn

from compress import graphs
from compress.data.splits import Data
from compress.errors import ConversionError
from compress.quantize.samples import choose
from compress.quantize.stage import Quantize, families, saturates
from compress.stage import Candidate, Context

JETSON = Target("jetson", "tensorrt")


def test_int8_agrees_is_small_and_describes_itself(network: nn.Module, context: Context, exported: Path) -> None:
    outcome = Quantize().run(Candidate(SPEC, network, lineage=("a",)), context)
    results, made = outcome.results, outcome.candidate
    assert made.form == "onnx"
    assert made.lineage == ("a",)
    assert made.files == {"onnxruntime": context.folder / "model.onnx"}
    assert results["agreement"].value >= 0.95
    assert results["agreement"].runs == 60
    assert results["accuracy_validation_int8"].value >= results["accuracy_validation_float"].value - 0.05
    assert results["size_ratio"].value == (context.folder / "model.onnx").stat().st_size / exported.stat().st_size
    assert graphs.metadata(made.files["onnxruntime"]) == graphs.metadata(exported)
    onnx.checker.check_model(str(made.files["onnxruntime"]), full_check=True)
    assert outcome.skipped == ()


def test_large_enough_network_shrinks_to_under_035(tmp_path: Path, context: Context) -> None:
    import torch

    from compress.export.onnx import export_onnx

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
    made = Quantize(calibration={"method": "minmax"}).run(Candidate(SPEC, network), context).candidate
    x = split(8, 1).inputs.numpy()
    runner = graphs.session(made.files["onnxruntime"])
    np.testing.assert_allclose(graphs.run(runner, x[:batch]), graphs.run(runner, x)[:batch], rtol=1e-5)


def test_a_tensorrt_target_gets_a_file_of_its_own(network: nn.Module, context: Context) -> None:
    context = dataclasses.replace(context, targets=(JETSON,))
    outcome = Quantize().run(Candidate(SPEC, network), context)
    assert outcome.candidate.files == {
        "onnxruntime": context.folder / "model.onnx",
        "tensorrt": context.folder / "model.tensorrt.onnx",
    }
    assert any("tensorrt" in note for note in outcome.notes)


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
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


def test_weights_that_are_not_finite_are_refused_and_nothing_is_written(
    network: nn.Module, context: Context, exported: Path, tmp_path: Path
) -> None:
    model = onnx.load(exported)
    tensor = next(one for one in model.graph.initializer if one.name == "wide.weight")
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[0, 0, 0, 0] = np.nan
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "bad.onnx")
    with pytest.raises(ConversionError, match=r"1 of \d+ values of 'wide.weight' are not finite"):
        Quantize().run(Candidate(SPEC, network), dataclasses.replace(context, to_onnx=lambda _: tmp_path / "bad.onnx"))
    assert list(context.folder.iterdir()) == []


def test_kept_nodes_are_recorded(network: nn.Module, context: Context) -> None:
    outcome = Quantize(keep_float=("head",)).run(Candidate(SPEC, network), context)
    (skip,) = outcome.skipped
    assert skip.what == "Gemm head (onnxruntime)"


@pytest.mark.parametrize("samples", [15, 10_001])
def test_samples_have_limits(samples: int) -> None:
    with pytest.raises(ValidationError, match="samples"):
        Quantize(calibration={"samples": samples})


def test_families_follow_the_targets() -> None:
    assert families(()) == ("onnxruntime",)
    assert families((JETSON, Target("host", "onnxruntime"))) == ("onnxruntime", "tensorrt")


def test_surroundings_are_json_and_tell_targets_apart() -> None:
    assert Quantize().surroundings((JETSON,)) != Quantize().surroundings(())


@pytest.mark.parametrize(("flags", "expected"), [("avx2 avx512_vnni", False), ("avx2 avx_vnni", False), ("avx2", True)])
def test_saturation_is_read_off_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, expected: bool) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    (tmp_path / "cpuinfo").write_text(f"processor: 0\nflags\t\t: fpu {flags}\n")
    assert saturates(tmp_path / "cpuinfo") is expected


def test_arm_does_not_saturate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert saturates(tmp_path / "none") is False


def test_samples_are_spread_over_the_classes_and_seeded() -> None:
    data = split(200, 0)
    chosen = choose(data, 16, classes=4, seed=0)
    where = [int((data.inputs.numpy() == one).all(axis=(1, 2, 3)).argmax()) for one in chosen]
    assert Counter(int(data.targets[index]) for index in where) == {0: 4, 1: 4, 2: 4, 3: 4}
    assert len(set(where)) == 16
    np.testing.assert_array_equal(chosen, choose(data, 16, classes=4, seed=0))
    assert not np.array_equal(chosen, choose(data, 16, classes=4, seed=1))


def test_small_split_is_taken_whole() -> None:
    data = split(10, 0)
    assert sorted(choose(data, 64, classes=4, seed=0).sum((1, 2, 3))) == sorted(data.inputs.numpy().sum((1, 2, 3)))


def test_stage_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import compress.quantize.stage, compress.export.stage, sys;"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
