from pathlib import Path

import numpy as np
import pytest

from compress.backends import onnx_files
from compress.config.devices import load_device
from compress.core.errors import CompressError, DeviceError
from compress.core.progress import NullReporter
from compress.core.record import Quantity
from compress.core.registry import Entry, temporary
from compress.profile.runtimes.compare import RuntimeComparison, RuntimeResult, compare
from compress.profile.runtimes.entrants import chosen_runtimes, files_of, prepare
from compress.profile.runtimes.metric_check import MetricCheck
from compress.profile.settings import MeasurementSettings
from tests.backends.converted.files import IMAGES, write_int8

HOST = load_device("host")
PLAN = MeasurementSettings(1, 0.2, 0.02, 40)
FEEDS = [{"x": IMAGES[index : index + 1]} for index in range(len(IMAGES))]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    int8 = write_int8(folder)
    return {"float": folder / "float.onnx", "int8": int8}


def measured(files: dict[str, Path], folder: Path, runtimes: tuple[str, ...], **options: object) -> tuple[RuntimeResult, ...]:
    feeds = dict.fromkeys(files, FEEDS)
    entrants = prepare(files, runtimes, dict.fromkeys(files, FEEDS[0]), folder, NullReporter())
    return compare(entrants, RuntimeComparison(HOST, PLAN, feeds, **options), NullReporter())


def test_each_file_is_measured_in_each_runtime_and_one_is_the_fastest(files: dict[str, Path], tmp_path: Path) -> None:
    results = measured(files, tmp_path, ("onnxruntime", "ort"))
    assert [(each.entrant.precision, each.entrant.runtime) for each in results] == [
        ("float", "onnxruntime"),
        ("float", "ort"),
        ("int8", "onnxruntime"),
        ("int8", "ort"),
    ]
    for result in results:
        row = result.as_row()
        assert row["reason"] == ""
        for name in ("latency_p50_ms", "load_ms", "memory_bytes", "size_bytes"):
            quantity = Quantity.model_validate(row[name])
            assert quantity.how == "measured"
            assert quantity.value is not None
            assert quantity.value > 0
        assert result.agreement is not None
        assert result.agreement.samples == len(FEEDS)
        assert result.agreement.holds
    assert sum(result.fastest for result in results) == 1
    assert {result.entrant.carried for result in results} == {"nothing", "all"}


def test_a_failure_is_a_row_and_the_others_are_measured(files: dict[str, Path], tmp_path: Path) -> None:
    fake = Entry("converter", "fake", "tests.backends.converted.fake_converters:aborts", "this test",
                 {"ending": ".x", "package": "fakelib", "extra": "fake"})  # fmt: skip
    with temporary(fake):
        results = measured({"float": files["float"]}, tmp_path, ("onnxruntime", "fake", "onnxruntime:tensorrt"))
    assert "operator Foo is not supported" in results[1].reason
    assert "TensorrtExecutionProvider" in results[2].reason
    assert results[0].fastest
    assert results[1].as_row()["fastest"] is False


def test_a_missing_operator_is_named_with_the_runtimes_that_have_it(files: dict[str, Path], tmp_path: Path) -> None:
    fake = Entry("converter", "fake", "tests.backends.converted.fake_converters:lacks_operator", "this test",
                 {"ending": ".x", "package": "fakelib", "extra": "fake"})  # fmt: skip
    with temporary(fake):
        first, alone = (
            measured({"float": files["float"]}, tmp_path / str(index), names)[0]
            for index, names in enumerate((("fake", "ort", "onnxruntime"), ("fake",)))
        )
    assert first.missing_operators == ("Foo (foo)",)
    assert first.reason.startswith("fake lacks Foo (foo); runtimes here that have it: ort, onnxruntime (")
    assert first.as_row()["missing_operators"] == ["Foo (foo)"]
    assert alone.reason.startswith("fake lacks Foo (foo), and no other runtime here ran this file")


def test_a_file_that_loses_the_metric_is_not_chosen(files: dict[str, Path], tmp_path: Path) -> None:
    values = {"float.onnx": 0.9, "int8.onnx": 0.8}

    def score(path: Path, runtime: str) -> Quantity:
        return Quantity.measured(values[path.name], "fraction")

    results = measured(files, tmp_path, ("onnxruntime",), check=MetricCheck(score))
    assert [(each.keeps, each.fastest) for each in results] == [(True, True), (False, False)]
    results = measured(files, tmp_path, ("onnxruntime",), check=MetricCheck(score, most_loss=0.2))
    assert [each.keeps for each in results] == [True, True]
    results = measured(files, tmp_path, ("onnxruntime",), check=MetricCheck(score, higher_is_better=False))
    assert [each.keeps for each in results] == [True, True]


def test_runtimes_are_chosen_by_name_or_by_the_profile() -> None:
    assert chosen_runtimes("ort, onnxruntime", HOST) == ("ort", "onnxruntime")
    assert {"onnxruntime", "openvino", "ncnn", "litert"} <= set(chosen_runtimes("all", HOST))
    assert chosen_runtimes("", HOST.model_copy(update={"runtimes": ("ort",)})) == (HOST.runtime, "ort")
    with pytest.raises(CompressError, match=r"unknown runner 'lite'.*litert"):
        chosen_runtimes("lite", HOST)
    with pytest.raises(DeviceError, match="not this machine"):
        chosen_runtimes("all", load_device("raspberry_pi_5"))


def test_of_a_run_the_last_file_and_its_float_parent_are_taken(files: dict[str, Path], tmp_path: Path) -> None:
    for stage, name in (("01-train", "float"), ("02-quantize", "int8"), ("03-export", "int8")):
        (tmp_path / stage).mkdir()
        onnx_files.save(onnx_files.load(files[name]), tmp_path / stage / "model.onnx")
    found = files_of(tmp_path)
    assert [path.parent.name for path in found] == ["01-train", "03-export"]
    assert files_of(files["int8"]) == (files["int8"],)


def test_outputs_that_differ_are_not_kept(files: dict[str, Path], tmp_path: Path) -> None:
    other = onnx_files.load(files["float"])
    own = tmp_path / "float.openvino.onnx"
    for tensor in other.graph.initializer:
        if tensor.name == "v":
            tensor.raw_data = (-np.frombuffer(tensor.raw_data, np.float32)).tobytes()
    onnx_files.save(other, own)
    copy = tmp_path / "float.onnx"
    onnx_files.save(onnx_files.load(files["float"]), copy)
    pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'compress[openvino]'")
    results = measured({"float": copy}, tmp_path / "out", ("onnxruntime", "openvino"))
    assert [each.keeps for each in results] == [True, False]
