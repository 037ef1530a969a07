import json

import numpy as np
import pytest

from compress.backends import runner_protocol as base
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.config.devices import host, load_device
from compress.core.errors import ConversionError, DeviceError
from compress.core.fact import Fact
from compress.core.progress import NullReporter
from compress.core.record import Quantity
from compress.core.sentences import render, render_subject
from compress.profile.latency.sweep import sweep, sweep_files
from compress.profile.settings import MeasurementSettings
from tests.cli.run_process import compress
from tests.profile.onnx_models import network

PLAN = MeasurementSettings(threads=1, seconds=0.02, warmup_seconds=0.0, min_runs=10)


def images(batch):
    return {"x": np.zeros((batch, 3, 8, 8), np.float32)}


def test_every_batch_is_timed_at_every_thread_count(tiny):
    rows, skipped = sweep(tiny, images, (1, 8, 8), (1, 2), PLAN, reporter=NullReporter())
    assert skipped == ()
    assert [(row["batch"], row["threads"]) for row in rows] == [(1, 1), (1, 2), (8, 1), (8, 2)]
    for row in rows:
        latency, throughput = row["latency_p50_ms"], row["throughput_per_s"]
        assert latency["how"] == "measured"
        assert latency["low"] <= latency["value"] <= latency["high"]
        assert throughput["value"] == pytest.approx(1000 * row["batch"] / latency["value"])
        detail = Quantity.model_validate(latency).detail
        assert f"batch {row['batch']}, 4 files timed in turns" in detail
        assert f"{row['threads']} thread" in detail
        assert row["runs"] >= 10


def test_a_fixed_batch_skips_the_others(save):
    fixed = save("fixed.onnx", network(shape=[2, 3, 8, 8]))
    rows, skipped = sweep(fixed, images, (1, 2), (1,), PLAN, reporter=NullReporter())
    assert [row["batch"] for row in rows] == [2]
    assert skipped[0].code == "profile.sweep_failed"
    assert render_subject(skipped[0]) == "sweep at batch 1"
    assert "Expected: 2" in skipped[0].values["error"]


def test_zeros_of_a_fixed_batch_are_not_taken_for_another(save):
    fixed = save("fixed.onnx", network(shape=[2, 3, 8, 8]))
    with OnnxRuntimeRunner(fixed) as runner:
        rows, skipped = sweep(fixed, lambda size: base.zero_feeds(runner, size), (1,), (1,), PLAN, reporter=NullReporter())
    assert rows == ()
    assert skipped[0] == Fact.of("profile.sweep_fixed_batch", "fixed.onnx", batch=1, fixed_batch=2)
    assert render(skipped[0]) == "the batch of fixed.onnx is fixed at 2"


def test_a_batch_that_memory_does_not_hold_is_skipped(tiny, monkeypatch):
    def run(self, feeds):
        if len(feeds["x"]) > 4:
            raise DeviceError("out of memory")
        return plain(self, feeds)

    plain = OnnxRuntimeRunner.run
    monkeypatch.setattr(OnnxRuntimeRunner, "run", run)
    rows, skipped = sweep(tiny, images, (1, 64), (1,), PLAN, reporter=NullReporter())
    assert [row["batch"] for row in rows] == [1]
    assert skipped == (Fact.of("profile.sweep_failed", "tiny.onnx", batch=64, error="out of memory"),)


def test_a_file_that_cannot_be_loaded_is_an_error(tmp_path):
    with pytest.raises(ConversionError, match="no such file"):
        sweep(tmp_path / "nowhere.onnx", images, (1,), (1,), PLAN, reporter=NullReporter())


def test_files_are_swept_on_this_machine_alone(tiny):
    devices = [host(), load_device("jetson")]
    rows, skipped = sweep_files([tiny], devices, (1, 4), (1,), feeds={tiny: images}, seconds=0.02)
    assert [(row["file"], row["device"], row["batch"]) for row in rows] == [("tiny.onnx", "host", 1), ("tiny.onnx", "host", 4)]
    assert skipped == (Fact.of("profile.sweep_not_local", "jetson_orin_nano"),)
    threads, _ = sweep_files([tiny], devices, (), (1, 2), feeds={tiny: images}, seconds=0.02)
    assert [(row["batch"], row["threads"]) for row in threads] == [(1, 1), (1, 2)]
    assert sweep_files([tiny], devices, (), (1,), feeds={}) == ((), ())


def test_the_command_prints_and_writes_a_sweep(tiny, save):
    fixed = save("fixed.onnx", network(shape=[1, 3, 8, 8]))
    command = ("profile", fixed, "--seconds", "0.05", "--batch", "1,2")
    shown = compress(*command).stdout
    assert "sweep at batch 2 skipped: the batch of fixed.onnx is fixed at 1" in shown
    assert "throughput" in shown
    found = json.loads(compress(*command, "--json").stdout)
    assert [row["batch"] for row in found["sweep"]] == [1]
    assert found["profile"][0]["subject"] == "fixed"
