from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from compress.core.errors import ConversionError
from compress.core.statistics import runs_needed
from compress.profile.latency.interleave import Samples, TimingPlan, Warmup
from compress.profile.latency.timing import Timing, measure, speedup
from tests.profile.onnx_models import make_model, network

INPUTS = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)


def timing(milliseconds, rounds=None, batch=1):
    milliseconds = np.asarray(milliseconds, dtype=float)
    rounds = np.zeros(len(milliseconds), int) if rounds is None else np.asarray(rounds)
    return Timing(Samples(milliseconds, rounds, Warmup(3, 0.1, True)), {"runtime": "r"}, "here", batch)


def test_percentiles_are_those_of_numpy_and_lie_in_their_intervals():
    samples = np.random.default_rng(1).gamma(4.0, size=2000)
    found = timing(samples)
    for quantity, percent in ((found.p50, 50), (found.percentile(90), 90), (found.percentile(99), 99)):
        assert quantity.value == np.percentile(samples, percent)
        assert quantity.low <= quantity.value <= quantity.high
        assert quantity.how == "measured"
        assert quantity.runs == 2000


@pytest.mark.parametrize("percent", [50, 90, 99])
def test_a_percentile_needs_its_runs(percent):
    needed = runs_needed(percent / 100)
    enough = timing(np.arange(1, needed + 1)).percentile(percent)
    short = timing(np.arange(1, needed)).percentile(percent)
    assert enough.how == "measured"
    assert short.how == "not measured"
    assert short.value is None
    assert str(needed) in short.detail
    assert str(needed - 1) in short.detail


def test_throughput_is_the_batch_over_the_median_latency():
    found = timing(np.full(100, 4.0), batch=8)
    assert found.throughput.value == pytest.approx(2000.0)
    assert timing([1.0, 2.0]).throughput.how == "not measured"


def test_speed_up_is_the_ratio_of_medians_within_rounds():
    rounds = np.repeat(np.arange(20), 5)
    load = np.repeat(np.linspace(1, 3, 20), 5)  # drift that both carry
    noise = np.random.default_rng(2).normal(1, 0.01, 100)
    gain = speedup(timing(10 * load * noise, rounds), timing(2 * load, rounds))
    assert gain.value == pytest.approx(5, rel=0.01)
    assert 4.9 < gain.low <= gain.value <= gain.high < 5.1


def test_speed_up_of_few_rounds_falls_back_to_all_runs():
    gain = speedup(timing([4.0, 4.1, 3.9]), timing([2.0, 2.1, 1.9]))
    assert gain.value == pytest.approx(2.0)
    assert speedup(timing([4.0]), timing([2.0])).how == "not measured"


def test_files_are_measured_together_with_their_settings(tiny: Path):
    found = measure({"a": tiny, "b": tiny}, {"x": INPUTS}, TimingPlan(0.05, 0.01, 40))
    assert list(found) == ["a", "b"]
    for result in found.values():
        assert len(result.milliseconds) >= 40
        assert np.all(result.milliseconds > 0)
        assert result.percentile(90).how == "measured"
        assert result.settings["threads"] == "1"
        assert result.settings["spinning"] == "off"
        assert result.settings["graph optimization"] == "all"
        assert "ONNX Runtime" in result.p50.detail
        assert "2 files timed in turns" in result.p50.detail
    assert set(found["a"].samples.rounds) == set(found["b"].samples.rounds)


def test_a_bar_is_filled_to_its_end(tiny: Path):
    class Reporter:
        def __init__(self) -> None:
            self.total, self.done = 0, 0

        def bar(self, _what, total):
            self.total = total
            return self

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def advance(self, steps=1, _note=""):
            self.done += steps

        def line(self, _text):
            raise AssertionError

    reporter = Reporter()
    measure({"a": tiny}, {"any name": INPUTS}, TimingPlan(0.05, 0.0), reporter=reporter)
    assert reporter.done == reporter.total > 0


def test_inputs_that_do_not_fit_are_told_before_timing(tiny: Path):
    with pytest.raises(ConversionError, match=r"input .x. of .*tiny\.onnx has shape n×3×8×8, but the data has 1×1×8×8"):
        measure({"a": tiny}, {"x": INPUTS[:, :1]})


def test_every_input_is_fed_by_its_name(save):
    first, second = (helper.make_tensor_value_info(name, kind, ["n", 4]) for name, kind in (("ids", 7), ("x", 1)))
    total = helper.make_tensor_value_info("total", 1, ["n", 4])
    nodes = [helper.make_node("Cast", ["ids"], ["float"], to=1), helper.make_node("Add", ["float", "x"], ["total"])]
    path = save("two.onnx", make_model(nodes, [first, second], [total]))
    feeds = {"x": np.ones((3, 4), np.float32), "mask": np.zeros(3), "ids": np.ones((3, 4), np.int64)}
    found = measure({"a": path}, feeds, TimingPlan(0.02, 0.0), batch=3)["a"]
    assert found.batch == 3
    with pytest.raises(ConversionError, match=r"two\.onnx has inputs ids, x; the data has no ids, only x"):
        measure({"a": path}, {"x": feeds["x"]})


def test_files_are_loaded_anew_on_the_way_in_turns(tiny: Path, save, monkeypatch):
    from compress.backends.onnxruntime_runner import OnnxRuntimeRunner

    loaded = []
    plain = OnnxRuntimeRunner.__enter__

    def enter(runner):
        loaded.append(runner.path.stem)
        return plain(runner)

    monkeypatch.setattr(OnnxRuntimeRunner, "__enter__", enter)
    other = save("other.onnx", network())
    measure({"a": tiny, "b": other}, {"x": np.zeros((1, 3, 8, 8), np.float32)}, TimingPlan(0.5, 0.0))
    assert sorted(loaded) == 5 * ["other"] + 5 * ["tiny"]
    assert {loaded[index] for index in range(2, 10, 2)} == {"tiny", "other"}
