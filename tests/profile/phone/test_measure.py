import numpy as np
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from compress.backends.converted import sidecar
from compress.cli import app
from compress.config.yaml_writer import dump
from compress.core.errors import ConversionError, DeviceError
from compress.core.progress import NullReporter
from compress.core.sentences import render
from compress.profile.connected import measure_rows
from compress.profile.phone import benchmark, phone_state
from compress.profile.phone.benchmark import named_sizes
from compress.profile.profile_files import profile_files
from compress.profile.remote.trtexec import ROUNDS
from compress.profile.runtimes.entrants import chosen_runtimes
from compress.profile.settings import MeasurementSettings
from tests.profile.onnx_models import network
from tests.profile.phone.conftest import ONNXRUNTIME

PLAN = MeasurementSettings(threads=1, seconds=0.6, warmup_seconds=0.1, min_runs=30)
LITERT = "{adb: R58M123, benchmark: /data/local/tmp/benchmark_model}"
INPUT = {"x": np.ones((1, 3, 8, 8), np.float32)}


def measured(files, device, **changes):
    feeds = dict.fromkeys(files, INPUT)
    return measure_rows(files, feeds, device, PLAN, **{"batch": 1, "reporter": NullReporter()} | changes)


def test_files_are_timed_in_turns_with_onnxruntime_perf_test(stand_in, device, tiny, save):
    files = {"teacher": save("teacher.onnx", network(channels=64)), "artifact": tiny}
    rows, timings, notes = measured(files, device())
    assert [row.subject for row in rows] == ["teacher", "artifact"]
    quantities = rows[1].quantities
    assert (quantities["latency_p50_ms"].value, quantities["latency_p50_ms"].how) == (pytest.approx(9.75086), "measured")
    assert quantities["latency_p50_ms"].runs == ROUNDS * 200
    assert quantities["latency_p99_ms"].value == pytest.approx(12.1519)
    assert quantities["latency_mean_ms"].value == pytest.approx(9.896199)
    assert quantities["throughput_per_s"].value == pytest.approx(1000 / 9.75086)
    assert quantities["memory_bytes"].value == 271122432
    assert quantities["size_bytes"].value == tiny.stat().st_size
    assert "does not fill the caches" in quantities["latency_cold_ms"].detail
    assert "starts each inference" in quantities["latency_periodic_ms"].detail
    assert "the battery is Charging" in quantities["power_w"].detail
    assert "Google Pixel 8, Google Tensor G3 over adb at R58M123" in quantities["latency_p50_ms"].detail
    assert rows[1].runtime == "ONNX Runtime by onnxruntime_perf_test"
    assert len(timings["artifact"].samples.round_medians()) == ROUNDS
    text = "; ".join(map(render, notes))
    assert "tested with a stand-in for adb only, never with a phone" in text
    assert "measured on Google Pixel 8, Google Tensor G3 (Android 15)" in text
    assert "before: battery 81 %" in text
    runs = [line.rsplit("/", 2)[1] for line in stand_in.shells() if "onnxruntime_perf_test -e" in line]
    assert runs == ["0", "1", *["0", "1", "1", "0"] * (ROUNDS // 2)]
    assert stand_in.shells()[-1].startswith("rm -rf /data/local/tmp/compress-")


def test_files_are_converted_for_benchmark_model(stand_in, device, tiny, monkeypatch):
    def convert(runtime, source, target, feeds):
        assert (runtime, source, feeds) == ("litert", tiny, INPUT)
        target.parent.mkdir(parents=True)
        target.write_bytes(b"tflite")
        sidecar.write_sidecar(target, sidecar.Sidecar(inputs={}, outputs={}, carried="nothing", files=(target.name,)))

    monkeypatch.setattr(benchmark, "convert_file", convert)
    rows, _, _ = measured({"artifact": tiny}, device(LITERT))
    quantities = rows[0].quantities
    assert stand_in.pushed()[0].endswith("/0/model.tflite")
    assert quantities["size_bytes"].value == len(b"tflite")
    assert quantities["latency_p50_ms"].value == pytest.approx(14.125)
    assert quantities["latency_p95_ms"].value == pytest.approx(18.753)
    assert "does not print p99" in quantities["latency_p99_ms"].detail
    assert quantities["latency_periodic_ms"].how == "measured"
    assert any("--run_frequency=20" in line for line in stand_in.shells())
    assert quantities["memory_model_bytes"].how == "measured"
    assert quantities["memory_bytes"].how == "not measured"
    with pytest.raises(DeviceError, match="files of a single sample"):
        measured({"artifact": tiny}, device(LITERT), batch=2)


def test_power_of_a_phone_on_its_battery(stand_in, device, tiny, monkeypatch):
    stand_in.says("cat", "Discharging\n-500000\n4000000\n")
    gauge = phone_state.PhoneGauge
    monkeypatch.setattr(benchmark, "PhoneGauge", lambda phone: gauge(phone, rate_hz=200.0, shortest_s=0.3))
    turn = benchmark.PhoneBenchmark.turn

    def slow(self, name, seconds, **settings):
        import time

        time.sleep(seconds if seconds == 0.6 else 0.0)
        return turn(self, name, seconds, **settings)

    monkeypatch.setattr(benchmark.PhoneBenchmark, "turn", slow)
    power = measured({"artifact": tiny}, device())[0][0].quantities["power_w"]
    assert power.how == "measured"
    assert power.value == pytest.approx(2.0)
    assert "whole device by voltage × current of its battery" in power.detail
    assert "onnxruntime_perf_test" in power.detail


def test_a_percentile_of_too_few_inferences_is_missing(stand_in, device, tiny):
    stand_in.says("onnxruntime_perf_test", ONNXRUNTIME.replace("requests: 200", "requests: 40"))
    quantities = measured({"artifact": tiny}, device())[0][0].quantities
    assert quantities["latency_p90_ms"].how == "measured"
    assert "p99 needs 100 inferences in each turn, one turn had 40" in quantities["latency_p99_ms"].detail


def test_programs_that_are_missing_or_print_something_else(stand_in, device, tiny):
    stand_in.says("missing-x", "1")
    with pytest.raises(DeviceError, match="chmod 755 /data/local/tmp/onnxruntime_perf_test"):
        measured({"artifact": tiny}, device())
    stand_in.says("missing-e", "1")
    with pytest.raises(DeviceError, match=r"get onnxruntime_perf_test for it \(https://onnxruntime\.ai"):
        measured({"artifact": tiny}, device())
    for name in ("missing-e", "missing-x"):
        (stand_in.folder / name).unlink()
    stand_in.says("onnxruntime_perf_test", "ONNX Runtime something else\n")
    with pytest.raises(DeviceError, match=r"no readable `Average inference time cost total: …`.*something else"):
        measured({"artifact": tiny}, device())
    stand_in.says("onnxruntime_perf_test.code", "1")
    with pytest.raises(DeviceError, match="onnxruntime_perf_test ended with 1: ONNX Runtime something else"):
        measured({"artifact": tiny}, device())
    assert stand_in.shells()[-1].startswith("rm -rf /data/local/tmp/compress-")


def test_other_hardware_than_the_profile_describes_is_recorded(stand_in, device, tiny):
    rows, _, notes = measured({"artifact": tiny}, device(identifies_as=("Pixel 9",)))
    assert "Pixel 8" in rows[0].other_hardware
    assert notes[0].code == "profile.other_hardware"


def test_sizes_of_free_axes_are_given_by_name(save):
    assert named_sizes(save("named.onnx", network(shape=["batch", 3, "side", 8])), INPUT) == {"batch": 1, "side": 8}
    assert named_sizes(save("unnamed.onnx", network(shape=[None, 3, 8, 8])), INPUT) == {}
    with pytest.raises(ConversionError, match="has no name that onnxruntime_perf_test takes, and its size would be 8"):
        named_sizes(save("free.onnx", network(shape=[1, 3, None, 8])), INPUT)
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a b", 3, 8, 8])
    model = network()
    model.graph.input[0].CopyFrom(info)
    with pytest.raises(ConversionError):
        named_sizes(save("blank.onnx", model), INPUT)


def test_files_are_profiled_against_each_other(stand_in, device, tiny, save):
    rows = profile_files([tiny, save("wide.onnx", network(channels=64))], [device()], seconds=0.6)
    assert rows[1].quantities["latency_ratio"].value == pytest.approx(1.0)
    assert rows[1].quantities["macs"].how == "measured"


def test_the_command_line(stand_in, device, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "devices"
    folder.mkdir()
    (folder / "my_phone.yaml").write_text(dump(device().model_dump(mode="json", exclude_none=True)))
    result = CliRunner().invoke(app, ["profile", str(tiny), "--devices", "my_phone", "--seconds", "0.6"])
    assert result.exit_code == 0, result.output
    assert "9.75 ms" in result.output
    checked = CliRunner().invoke(app, ["devices", "check", "my_phone"])
    assert checked.exit_code == 0, checked.output
    assert "Pixel 8" in checked.output


def test_the_comparison_of_runtimes_is_refused(device):
    with pytest.raises(DeviceError, match="use `compress profile FILE --devices my_phone`"):
        chosen_runtimes("", device())
