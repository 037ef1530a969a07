import errno
import io
import json
import sys

import numpy as np
import pytest

from compress.core.errors import DeviceError
from compress.profile.remote import agent_worker
from compress.profile.remote.agent_bootstrap import MARK
from compress.profile.remote.agent_worker import NO_SPACE, Progress, inspect, main, onnxruntime, power_sensors
from compress.profile.remote.trtexec import NoTrtexec, Refused
from tests.profile.power.fake_sensor import Fake

ORDER = {
    "feeds": None, "batch": 2, "threads": 1, "seconds": 0.02, "warmup_seconds": 0.0, "min_runs": 6, "affinity": [],
    "power_seconds": 0.01, "sensors": [], "arrivals_per_s": 1000.0, "arrival_seconds": 0.001,
}  # fmt: skip


@pytest.fixture
def order(tiny, monkeypatch):
    """An order for one file; memory is not measured in a process of its own, and no large buffer is written."""
    monkeypatch.setattr(agent_worker, "memory", lambda _, shapes, threads: {"reason": f"{shapes}, {threads}"})
    monkeypatch.setattr("compress.profile.latency.arrival.LEAST_BYTES", 1 << 10)
    monkeypatch.setattr("compress.profile.latency.arrival.MOST_BYTES", 1 << 10)
    return {**ORDER, "files": {"artifact": str(tiny)}}


def test_the_result_is_json_with_one_time_for_every_run(order):
    result = json.loads(json.dumps(onnxruntime(order)))
    file = result["files"]["artifact"]
    assert len(file["milliseconds"]) == len(file["rounds"]) >= 6
    assert min(file["milliseconds"]) > 0
    assert set(file["arrivals"]) == {"periodic", "cold"}
    assert all(len(series["milliseconds"]) == len(series["rounds"]) for series in file["arrivals"].values())
    assert file["settings"]["threads"] == "1"
    assert file["power"]["power_w"]["how"] == "not measured"
    assert set(result["clocks"]) == {"before", "after"}
    assert result["processor_share"] >= 0


def test_inputs_are_zeros_of_the_batch_or_the_arrays_that_were_sent(order, tmp_path):
    assert "(2, 3, 8, 8)" in onnxruntime(order)["files"]["artifact"]["memory"]["reason"]
    np.save(tmp_path / "0.npy", np.ones((5, 3, 8, 8), np.float32))
    order["feeds"] = {"artifact": {"x": str(tmp_path / "0.npy")}}
    assert "(5, 3, 8, 8)" in onnxruntime(order)["files"]["artifact"]["memory"]["reason"]


def test_inspect_names_the_versions_of_what_is_there():
    import onnxruntime as runtime

    report = json.loads(json.dumps(inspect({"trtexec": "/nonexistent/trtexec", "sensors": []})))
    assert (report["onnxruntime"], report["numpy"]) == (runtime.__version__, np.__version__)
    assert "CPUExecutionProvider" in report["providers"]
    assert "looked for /nonexistent/trtexec" in report["no_trtexec"]
    assert report["power"] == ""


def test_a_missing_runtime_is_reported_and_no_failure(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    report = inspect({"job": "inspect", "trtexec": None, "sensors": []})
    assert sys.executable in report["no_onnxruntime"]
    assert "onnxruntime" not in report


def test_the_first_sensor_that_works_is_reported_and_stopped(monkeypatch):
    sensor = Fake()
    monkeypatch.setattr("compress.profile.power.open_sensors", lambda _: (Fake(name="a", missing="no driver"), sensor))
    assert power_sensors(("x:y",)) == {"power": "fake, a test bench", "no_power": ""}
    monkeypatch.setattr("compress.profile.power.open_sensors", lambda _: (Fake(name="a", missing="no driver"),))
    assert power_sensors(("x:y",)) == {"power": "", "no_power": "a: no driver"}


def answer_to(monkeypatch, capsys, job) -> dict:
    """What the worker sends for an order that runs `job`."""
    monkeypatch.setattr(agent_worker.threading, "Thread", lambda **_: type("Thread", (), {"start": lambda _: None})())
    monkeypatch.setattr(agent_worker, "inspect", job)
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", lambda *_, **__: io.BytesIO(b'{"job": "inspect"}\n'))
        main()
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line.removeprefix(MARK))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ImportError("No module named 'onnxruntime'"), "no runtime"),
        (NoTrtexec("looked for x"), "no trtexec"),
        (Refused("no converter"), "refused"),
        (DeviceError("inputs do not fit"), "refused"),
        (Refused(f"write failed: {NO_SPACE[0]}"), "disk full"),
        (OSError(errno.ENOSPC, "full", "file"), "disk full"),
        (MemoryError("8 GB"), "failed"),
    ],
)
def test_every_error_has_its_kind(monkeypatch, capsys, error, kind):
    def job(_order):
        raise error

    assert answer_to(monkeypatch, capsys, job)["error"] == kind


def test_a_result_is_sent_and_an_unknown_error_is_not_hidden(monkeypatch, capsys):
    assert answer_to(monkeypatch, capsys, lambda order: {"got": order["job"]}) == {"result": {"got": "inspect"}}

    def job(_order):
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        answer_to(monkeypatch, capsys, job)


def test_progress_is_reported_at_most_once_in_its_period(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(agent_worker.time, "monotonic", lambda: now[0])
    progress = Progress()
    for now[0], fraction in ((0.5, 0.1), (1.0, 0.2), (1.5, 0.3), (2.1, 0.4)):
        progress(fraction)
    reported = [json.loads(line.removeprefix(MARK))["progress"] for line in capsys.readouterr().out.splitlines()]
    assert reported == [0.2, 0.4]
