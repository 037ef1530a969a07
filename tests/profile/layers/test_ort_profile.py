import errno

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import trim_mean

from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.runner_protocol import zero_feeds
from compress.core.errors import ConversionError
from compress.profile.layers.ort_profile import (
    GRAPH,
    WRITE_ERRORS,
    ProfilingRunner,
    interquartile_mean,
    kernel_name,
    split_runs,
)


def test_the_middle_mean_ignores_both_tails():
    assert interquartile_mean(np.array([1.0, 2.0, 2.0, 3.0, 3.0, 2.0, 0.0, 100.0])) == pytest.approx(2.25)


def test_runs_are_told_apart_in_the_profile():
    stamp = {"cat": "Node", "name": "a_kernel_time"}
    end = {"cat": "Session", "name": "model_run"}
    load = {"cat": "Session", "name": "session_initialization"}
    assert [len(run) for run in split_runs([load, stamp, stamp, end, stamp, stamp, end, stamp])] == [2, 2]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_the_middle_mean_is_that_of_scipy(samples):
    assert interquartile_mean(np.array(samples)) == pytest.approx(trim_mean(samples, 0.25), rel=1e-9, abs=1e-9)


def test_every_kernel_of_every_run_is_recorded(tiny, tmp_path):
    with ProfilingRunner(tiny, tmp_path, threads=1) as runner:
        feeds = zero_feeds(runner)
        for _ in range(3):
            runner.run(feeds)
        runs = split_runs(runner.read_events())
    assert len(runs) == 3
    kernels = {node.name for node in onnx.load(tmp_path / GRAPH).graph.node}
    assert [{kernel_name(event) for event in run} for run in runs] == [kernels] * 3
    assert all(event["dur"] >= 0 for run in runs for event in run)
    assert [path.name for path in tmp_path.iterdir() if "profile" in path.name] == []


def test_a_dynamic_batch_stays_dynamic(tiny, tmp_path):
    with ProfilingRunner(tiny, tmp_path, threads=1):
        dimension = onnx.load(tmp_path / GRAPH).graph.input[0].type.tensor_type.shape.dim[0]
    assert dimension.dim_param


@pytest.mark.parametrize("message", WRITE_ERRORS)
def test_a_graph_that_cannot_be_written_is_an_error_of_the_disk(message, tiny, tmp_path, monkeypatch):
    def enter(_runner):
        raise ConversionError(f"cannot load tiny.onnx: {message} at optimized.onnx")

    monkeypatch.setattr(OnnxRuntimeRunner, "__enter__", enter)
    with pytest.raises(OSError, match="cannot write its graph") as error, ProfilingRunner(tiny, tmp_path, threads=1):
        pass
    assert error.value.errno == errno.ENOSPC


def test_a_file_that_is_no_network_is_an_error_of_the_file(tmp_path):
    path = tmp_path / "text.onnx"
    path.write_text("no network")
    with pytest.raises(ConversionError), ProfilingRunner(path, tmp_path, threads=1):
        pass


def test_a_profile_that_is_cut_short_is_an_error_of_the_disk(tiny, tmp_path, monkeypatch):
    with ProfilingRunner(tiny, tmp_path, threads=1) as runner:
        runner.run(zero_feeds(runner))
        cut = tmp_path / "cut.json"
        cut.write_text('[{"cat": "Node"')
        monkeypatch.setattr(runner, "_session", type("Session", (), {"end_profiling": lambda _: str(cut)})())
        with pytest.raises(OSError, match="truncated") as error:
            runner.read_events()
    assert error.value.errno == errno.ENOSPC
