from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import DeviceError
from compress.core.progress import NullReporter
from compress.core.registry import Entry, temporary
from compress.profile.runtimes.compare import RuntimeComparison
from compress.profile.runtimes.entrants import chosen_runtimes, prepare
from compress.profile.runtimes.over_ssh import compare_over_ssh
from compress.profile.settings import MeasurementSettings
from tests.backends.converted.files import IMAGES, write_int8

PLAN = MeasurementSettings(1, 0.2, 0.02, 40)
FEEDS = [{"x": IMAGES[index : index + 1]} for index in range(len(IMAGES))]


def test_each_runtime_is_measured_on_the_device_and_one_that_is_missing_there_has_its_install_line(
    device: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"  # a folder of modules that the device does not import from
    here.mkdir()
    (here / "absent_runner.py").write_text('class AbsentRunner:\n    package = "absent-runtime"\n')
    monkeypatch.syspath_prepend(here)
    int8 = write_int8(tmp_path)
    files = {"float": tmp_path / "float.onnx", "int8": int8}
    converter = Entry("converter", "fake", "compress.export.converters.ort_format:convert", "this test",
                      {"ending": ".x", "package": "onnxruntime", "extra": "fake"})  # fmt: skip
    runner = Entry("runner", "fake", "absent_runner:AbsentRunner", "this test", {"format": "fake"})
    board = device()
    with temporary(converter, runner):
        entrants = prepare(
            files, ("onnxruntime", "ort", "fake"), dict.fromkeys(files, FEEDS[0]), tmp_path / "out", NullReporter()
        )
        results = compare_over_ssh(entrants, RuntimeComparison(board, PLAN, dict.fromkeys(files, FEEDS)), NullReporter())
    by_name = {result.entrant.name: result for result in results}
    for name in ("float, onnxruntime", "float, ort", "int8, onnxruntime", "int8, ort"):
        result = by_name[name]
        assert result.reason == ""
        assert result.agreement is not None
        assert result.agreement.holds
        assert result.agreement.samples == len(FEEDS)
        for quantity in ("latency_p50_ms", "size_bytes", "load_ms"):
            assert (result.quantities[quantity].value or 0) > 0
        assert "over SSH at 127.0.0.1" in result.quantities["latency_p50_ms"].detail
    assert sum(result.fastest for result in results) == 1
    missing = by_name["float, fake"].reason
    assert "the runtime is missing" in missing
    assert missing.endswith("-m pip install numpy absent-runtime")


def test_runtimes_whose_files_stay_on_one_machine_are_refused(device: Callable[..., Any]) -> None:
    board = device()
    assert "litert" in chosen_runtimes("all", board)
    assert "inductor" not in chosen_runtimes("all", board)
    assert chosen_runtimes("ort,onnxruntime", board) == ("ort", "onnxruntime")
    with pytest.raises(DeviceError, match="openvino is not measured over SSH; allowed are onnxruntime, "):
        chosen_runtimes("openvino", board)
