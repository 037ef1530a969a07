"""`devices calibrate` of a device over SSH: a real sshd on loopback, every fault, and what estimates make of it."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import venv

import numpy as np
import onnx
import psutil
import pytest
from typer.testing import CliRunner

from compress.cli import app
from compress.cli.calibrate_cost_model import calibrate_device, quantized
from compress.config.devices import host
from compress.config.yaml_lines import dump
from compress.core.errors import DeviceError
from compress.core.progress import NullReporter
from compress.profile.cost_model import calibration_file as calibration
from compress.profile.cost_model import estimate as cost
from compress.profile.cost_model import fit as fitting
from compress.profile.cost_model import remote_fit as remote
from compress.profile.cost_model.calibration_file import Accuracy, Calibration, Rates
from compress.profile.cost_model.fit import calibrate, time_network
from compress.profile.cost_model.kernel_counts import count_file_kernels
from compress.profile.cost_model.random_networks import random_network
from compress.profile.device_check import check_device
from tests.profile.onnx_models import network
from tests.profile.remote.eventually import eventually


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def small(monkeypatch):
    """Ten networks that take no time."""
    monkeypatch.setattr(fitting, "MOST", 10)
    monkeypatch.setattr(remote, "random_network", lambda number: network(channels=16 + 8 * number))


def taken(device, seconds=60.0):
    return remote.collect_remote_samples(device, quantized, threads=1, seconds=seconds, reporter=NullReporter())


def made(**changed):
    machine = host().hardware
    fields = {
        "device": "my_board", "cpu": machine.cpu, "instruction_sets": machine.instruction_sets,
        "caches_bytes": machine.caches_bytes, "runtime": calibration.runtime(), "threads": 1,
        "created": "2026-01-02 03:04 UTC", "seconds": 200.0, "accuracy": Accuracy(mean=0.07, low=0.9, high=1.2, networks=100),
        "rates": {f"{pool} fp32": Rates(overhead_ns=1e6, prices_ns={}, samples=99) for pool in ("product", "other")},
    }  # fmt: skip
    return Calibration(**fields | changed)


def kinds(kernels):
    """What is run, in an order of its own: the runtime's is another each time where branches meet."""
    return sorted((kernel.kind, sorted(kernel.counts.items())) for kernel in kernels)


def test_networks_are_stamped_there_as_here(device, monkeypatch, tmp_path):
    monkeypatch.setattr(fitting, "MOST", 1)
    monkeypatch.setattr(fitting, "FOLDS", 0)
    monkeypatch.setattr(remote, "random_network", lambda _: random_network(3))
    there, machine = taken(device())
    assert machine == calibration.this_processor(host().hardware)
    caches = fitting.cache_sizes(machine.caches_bytes)
    here = [time_network(0, one, tmp_path, caches, threads=1) for one in (random_network(3), quantized(random_network(3)))]
    for ours, theirs in zip(here, there, strict=True):
        assert kinds(theirs.kernels) == kinds(ours.kernels)
        assert 0.1 < theirs.total_ns / ours.total_ns < 10  # the same unit; neighbours may slow either down
        assert theirs.nanoseconds.sum() == pytest.approx(theirs.total_ns, rel=0.2)


def test_it_is_fitted_here_and_kept_under_the_devices_name(device, small, server, tmp_path):
    profile = tmp_path / "my_board.yaml"
    profile.write_text(dump(device().model_dump(mode="json", exclude_none=True)))
    before = server.connections()
    done = CliRunner().invoke(app, ["devices", "calibrate", str(profile)])
    assert done.exit_code == 0, done.output
    assert server.connections() == before + 1
    assert "mean error" in done.output
    found = calibration.load(calibration.find_file("my_board"))
    assert found.device == "my_board"
    assert found.accuracy.networks == 10
    assert {"product fp32", "other fp32", "product int8"} <= set(found.rates)
    line = next(line for line in check_device(device()) if line.what == "calibration")
    assert line.met
    assert "on 10 random networks left out" in line.said


def test_estimates_price_the_kernels_that_the_device_says_it_runs(device, tiny):
    calibration.save(made(), calibration.default_path("my_board"))
    found = cost.estimate(tiny, device())
    kernels = count_file_kernels(tiny)
    assert found.latency_ms == pytest.approx(len(kernels))  # a millisecond each
    assert kinds(kernel for kernel, _ in found.operators) == kinds(kernels)
    assert found.band == (pytest.approx(0.9 * len(kernels)), pytest.approx(1.2 * len(kernels)))
    assert "calibrated 2026-01-02" in found.model


def test_a_calibration_that_does_not_hold_there_is_not_used_and_said_so(device, tiny):
    calibration.save(made(runtime="onnxruntime 1.0.0"), calibration.default_path("my_board"))
    found = cost.estimate(tiny, device().model_copy(update={"efficiency": roofline(), "peaks": peaks()}))
    assert "uncalibrated roofline" in found.model
    assert "cannot be used: it was made with runtime onnxruntime 1.0.0; there it is onnxruntime" in found.model
    line = next(line for line in check_device(device()) if line.what == "calibration")
    assert line.met is False
    assert "onnxruntime 1.0.0" in line.said


def test_a_device_out_of_reach_is_estimated_by_its_roofline_and_said_so(device, tiny):
    calibration.save(made(), calibration.default_path("my_board"))
    gone = device(port=1)
    found = cost.estimate(tiny, gone.model_copy(update={"efficiency": roofline(), "peaks": peaks()}))
    assert "cannot be used: my_board (127.0.0.1): it refused the connection" in found.model
    with pytest.raises(DeviceError, match=r"has no efficiency, .*it refused the connection"):
        cost.estimate(tiny, gone)
    line = next(line for line in check_device(gone) if line.what == "calibration")
    assert line.met is None
    assert "whether it holds is not known" in line.said


def figure(value, unit):
    return {"value": value, "unit": unit, "source": "made up for a test"}


def roofline():
    fractions = {name: figure(0.5, "fraction") for name in ("dense", "depthwise")}
    return cost.Efficiency(**fractions, overhead_us=figure(1.0, "us"), error_factor=3.0)


def peaks():
    return cost.Peaks(
        fp32_gflops=figure(100.0, "GFLOP/s"),
        memory_bandwidth_gb_s=figure(10.0, "GB/s"),
        memory_bytes=figure(1e9, "bytes"),
    )


def test_too_little_time_is_told(device, small):
    with pytest.raises(DeviceError, match=r"networks were timed in 0\.01 s; 10 at least are needed: allow more time"):
        taken(device(), seconds=0.01)


def test_what_cannot_be_calibrated_is_told(device):
    with pytest.raises(DeviceError, match="runs tensorrt on a cpu; only ONNX Runtime on a CPU"):
        calibrate(device("tensorrt"), quantized)
    with pytest.raises(DeviceError, match="runs onnxruntime on a gpu; only ONNX Runtime on a CPU"):
        calibrate(device().model_copy(update={"kind": "gpu"}), quantized)


def test_not_in_reach_and_not_fit(device, small, tmp_path):
    with pytest.raises(DeviceError, match="it refused the connection"):
        taken(device(port=1))
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    with pytest.raises(DeviceError, match="the runtime is missing: No module named"):
        taken(device(python=str(tmp_path / "bare/bin/python")))
    with pytest.raises(DeviceError, match="wrong architecture: the profile says riscv64"):
        taken(device(architecture="riscv64"))


@pytest.mark.parametrize("blocks", [1, 600])
def test_a_full_disk(device, monkeypatch, program, blocks):
    """The agent does not fit, or the weights that are made up there do not."""
    monkeypatch.setattr(fitting, "MOST", 1)
    monkeypatch.setattr(remote, "random_network", lambda _: network(channels=60_000))
    python = program("python-on-full-disk", f'#!/bin/sh\nulimit -f {blocks}\nexec {sys.executable} "$@"\n')
    with pytest.raises(DeviceError, match=r"its disk is full: .*\. Free some space, or name another folder by `workdir:`"):
        taken(device(python=python))


class Background:
    """A calibration under way in a thread, with what came of it; networks so large that the worker is busy."""

    def __init__(self, device, server):
        self.error, self.device, self.server = None, device, server
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            taken(self.device)
        except DeviceError as error:
            self.error = str(error)

    def __enter__(self):
        self.thread.start()
        assert eventually(lambda: any("work" in process.cmdline() for process in self.server.agents())), self.error
        time.sleep(1.0)  # the worker stamps by now
        return self

    def __exit__(self, *_):
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def slow(monkeypatch):
    """Networks of which one takes seconds."""
    nodes = [onnx.helper.make_node("Conv", [f"a{k}", "w"], [f"a{k + 1}"], pads=[2] * 4, name=f"c{k}") for k in range(3)]
    weight = onnx.numpy_helper.from_array(np.ones((64, 64, 5, 5), np.float32), "w")
    shape = [1, 64, 256, 256]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("a0", "a3")]
    graph = onnx.helper.make_graph(nodes, "slow", ends[:1], ends[1:], [weight])
    built = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    monkeypatch.setattr(remote, "random_network", lambda _: built)
    monkeypatch.setattr(remote, "WAVE", 1)
    monkeypatch.setattr("tests.profile.remote.test_remote_fit.quantized", lambda model: model)


def test_the_connection_is_lost(device, slow, server):
    with Background(device(), server) as under_way:
        server.drop()
    assert "the connection was lost while measuring" in under_way.error


def test_the_worker_is_killed(device, slow, server):
    with Background(device(), server) as under_way:
        (worker,) = [process for process in server.agents() if "work" in process.cmdline()]
        worker.kill()
    assert "killed by signal 9, as happens for want of memory" in under_way.error


def test_the_agent_is_killed(device, slow, server):
    with Background(device(), server) as under_way:
        (keeper,) = [process for process in server.agents() if "work" not in process.cmdline()]
        keeper.kill()
    assert re.search(r"the agent there ended with \d+ while measuring", under_way.error)


def test_a_network_takes_too_long(device, slow):
    with pytest.raises(DeviceError, match=r"timeout: it did not finish measuring within `timeout_s: 0\.5` in the connection"):
        taken(device(timeout_s=0.5))


def test_ctrl_c_half_way_leaves_nothing_here_or_there(device, server, tmp_path):
    profile = tmp_path / "my_board.yaml"
    profile.write_text(dump(device().model_dump(mode="json", exclude_none=True)))
    code = "from compress import cli; from compress.profile.cost_model import remote_fit; remote_fit.WAVE = 1; cli.main()"
    command = [sys.executable, "-c", code, "devices", "calibrate", str(profile)]
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=heed
    ) as client:
        assert eventually(lambda: any("work" in process.cmdline() for process in server.agents()), 60)
        helpers = psutil.Process(client.pid).children(recursive=True)
        os.killpg(client.pid, signal.SIGINT)
        _, said = client.communicate(timeout=60)
    assert client.returncode == 130
    assert b"Traceback" not in said
    assert b"interrupted: nothing was kept" in said
    assert calibration.find_file("my_board") is None
    assert eventually(lambda: not any(helper.is_running() for helper in helpers)), "ssh was left behind here"


def test_the_verb_and_the_function_are_one(device, small, tmp_path):
    profile = tmp_path / "my_board.yaml"
    profile.write_text(dump(device().model_dump(mode="json", exclude_none=True)))
    found, path = calibrate_device(str(profile), tmp_path / "own.json", threads=1)
    assert calibration.load(path) == found
    assert calibration.find_file("my_board") is None
