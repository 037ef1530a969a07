import json
import subprocess
import sys
import time

import numpy as np
import pytest
from onnx import helper

from compress.profile.memory import probe
from tests.profile.onnx_models import model

SIDE = 1000


@pytest.fixture
def double(save):
    """A network that doubles its input: x + x."""
    return save("double.onnx", model([helper.make_node("Add", ["x", "x"], ["y"])], {}, "y", ["n", SIDE]))


def test_resident_memory_is_what_the_kernel_reports_in_kilobytes(tmp_path, monkeypatch):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n")
    monkeypatch.setattr(probe, "STATUS", status)
    assert probe.resident("VmRSS") == 1024 * 1024
    assert probe.resident("VmHWM") == 2048 * 1024


@pytest.mark.parametrize(("platform", "unit"), [("darwin", 1), ("freebsd", 1024)])
def test_without_proc_the_peak_of_the_system_is_used(tmp_path, monkeypatch, platform, unit):
    class Usage:
        ru_maxrss = 5000

    monkeypatch.setattr(probe, "STATUS", tmp_path / "none")
    monkeypatch.setattr(probe.sys, "platform", platform)
    monkeypatch.setattr(probe.resource, "getrusage", lambda _: Usage)
    assert probe.resident("VmRSS") == 5000 * unit


@pytest.mark.skipif(not probe.STATUS.is_file(), reason="needs /proc")
def test_memory_that_is_written_is_resident():
    """In a process of its own: the kernel may take back cold pages of one that has run other tests."""
    code = """
import numpy as np
from compress.profile.memory import probe
before = probe.resident("VmRSS")
ballast = np.ones(50_000_000, np.uint8)
after = probe.resident("VmRSS")
assert after - before >= 0.9 * ballast.nbytes, (before, after)
assert probe.resident("VmHWM") >= after
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_duration_is_in_milliseconds():
    start = time.perf_counter_ns()
    time.sleep(0.02)
    assert 20 <= probe.milliseconds(start) < 2000


@pytest.mark.parametrize("provider", ["CPUExecutionProvider", "openvino"])
def test_a_loaded_model_runs(double, provider):
    if provider == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'compress[openvino]'")
    run = probe.open_model(str(double), 1, provider)
    inputs = np.arange(SIDE, dtype=np.float32)[None]
    (output,) = run({"x": inputs}).values() if provider == "openvino" else run({"x": inputs})
    assert np.array_equal(output, 2 * inputs)


def test_the_arena_holds_what_is_in_use(save):
    chain = [helper.make_node("Sigmoid", [before], [after]) for before, after in ("xa", "ab", "bc", "cy")]
    path = save("chain.onnx", model(chain, {}, "y", ["n", 250_000]))
    sizes = probe.arena(str(path), 1, {"x": np.zeros((1, 250_000), np.float32)}, "CPUExecutionProvider")
    assert sizes["arena_used"] == pytest.approx(2 * 4 * 250_000, rel=0.1)  # one tensor is read while the next is written
    assert sizes["arena"] >= sizes["arena_used"]


def test_every_step_is_printed(double, capsys, monkeypatch):
    shapes = json.dumps({"x": [[2, SIDE], "float32"]})
    monkeypatch.setattr(sys, "argv", ["probe.py", str(double), "1", "4", shapes, "CPUExecutionProvider"])
    probe.main()
    footprint = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(footprint) == {
        "before", "loaded", "first", "steady", "peak", "load_ms", "first_ms", "steady_ms", "arena", "arena_used",
        "peaks",
    }  # fmt: skip
    assert footprint["before"] > 0
    assert footprint["peak"] >= max(footprint["first"], footprint["steady"])
    assert footprint["load_ms"] > 0


def test_one_run_alone_is_no_steady_state(double, capsys, monkeypatch):
    calls = []

    def open_model(*_):
        return lambda feeds: calls.append(feeds["x"].shape)

    monkeypatch.setattr(probe, "open_model", open_model)
    monkeypatch.setattr(probe, "arena", lambda *_: {})
    shapes = json.dumps({"x": [[1, SIDE], "float32"]})
    monkeypatch.setattr(sys, "argv", ["probe.py", str(double), "1", "1", shapes, "CPUExecutionProvider"])
    probe.main()
    assert calls == [(1, SIDE)] * 2
    assert json.loads(capsys.readouterr().out)["steady_ms"] > 0
