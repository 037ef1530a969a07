import numpy as np
import pytest
from onnx import helper

from compress.backends import open_runner as open_module
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.open_runner import open_runner
from compress.config.devices import host
from compress.core.errors import CompressError, ConversionError, MissingPackageError
from compress.core.fact import Fact
from compress.core.progress import NullReporter
from compress.core.record import Quantity
from compress.core.registry import Entry
from compress.core.sentences import render, render_subject
from compress.profile import fastest_runtime as runtimes
from compress.profile.fastest_runtime import RuntimeInputs, choose_runtime, compare_runtimes
from compress.profile.profile_files import profile_files
from compress.profile.runtimes.metric_check import MetricCheck
from compress.profile.settings import MeasurementSettings
from tests.profile.onnx_models import model, network

PLAN = MeasurementSettings(threads=1, seconds=0.1, warmup_seconds=0.01, min_runs=20)
BATCHES = [{"x": np.random.default_rng(seed).normal(size=(1, 3, 8, 8)).astype(np.float32)} for seed in range(8)]


def slowed(runner_class, milliseconds, shift=0.0):
    """A runtime that answers like ONNX Runtime, some time later, and perhaps a little off."""

    class Slowed(runner_class):
        def run(self, feeds):
            import time

            time.sleep(milliseconds / 1000)
            return [array + shift * np.abs(array).max() for array in super().run(feeds)]

        def describe(self):
            return super().describe() | {"runtime": f"slowed by {milliseconds} ms"}

    return Slowed


class NotInstalled:
    def __init__(self, path, threads):
        raise MissingPackageError("nothing", "nothing", f"running {path} on {threads} threads")


def runtime(monkeypatch, **classes):
    """Let runtimes be found under names of the test's own."""

    class Row(Entry):
        def load(self):
            return classes[self.name]

    monkeypatch.setattr(open_module, "lookup", lambda family, name: Row(family, name, "", ""))


def chosen(names, tiny):
    files = {"teacher": tiny, "artifact": tiny}
    return choose_runtime(names, RuntimeInputs(files, dict.fromkeys(files, BATCHES)), PLAN, batch=1, reporter=NullReporter())


def test_the_fastest_that_agrees_is_chosen_and_all_are_recorded(tiny, monkeypatch):
    runtime(
        monkeypatch,
        own=slowed(OnnxRuntimeRunner, 4),
        fast=slowed(OnnxRuntimeRunner, 0),
        slow=slowed(OnnxRuntimeRunner, 8),
    )
    choice = chosen(("own", "slow", "fast"), tiny)
    assert choice.runtime == "fast"
    assert [(row["runtime"], row["chosen"]) for row in choice.rows] == [("own", False), ("slow", False), ("fast", True)]
    assert choice.rows[1]["version"] == "slowed by 8 ms"
    assert all(row["latency_p50_ms"]["how"] == "measured" for row in choice.rows)
    assert choice.rows[2]["top1_agreement"]["value"] == 1.0
    assert choice.rows[2]["largest_difference"] == 0.0
    assert choice.rows[0]["top1_agreement"]["how"] == "not measured"
    (note,) = choice.notes
    assert (note.code, note.subject) == ("profile.runtime_chosen", "fast")
    assert note.values["runtimes"] == ("own", "slow", "fast")
    assert "measured in fast, the fastest with equal outputs: own " in render(note)


def test_one_that_answers_otherwise_is_not_chosen_however_fast(tiny, monkeypatch):
    runtime(
        monkeypatch,
        own=slowed(OnnxRuntimeRunner, 4),
        wrong=slowed(OnnxRuntimeRunner, 0, shift=0.5),
    )
    choice = chosen(("own", "wrong"), tiny)
    assert choice.runtime == "own"
    assert choice.rows[1]["largest_difference"] == pytest.approx(0.5)
    note = choice.notes[0]
    assert (note.code, note.subject) == ("profile.runtime_disagrees", "wrong")
    assert note.values["difference"] == pytest.approx(0.5)
    assert "runtime wrong was not chosen: outputs differ by up to 0.5" in render(note)


def test_one_that_loses_the_metric_is_not_chosen_however_fast(tiny, monkeypatch):
    runtime(monkeypatch, own=slowed(OnnxRuntimeRunner, 4), fast=slowed(OnnxRuntimeRunner, 0), worse=OnnxRuntimeRunner)
    values = {"own": 0.9, "fast": 0.895, "worse": 0.88}
    check = MetricCheck(lambda _, name: Quantity.measured(values[name], "fraction", "accuracy on the validation split"))
    files = {"artifact": tiny}
    inputs = RuntimeInputs(files, dict.fromkeys(files, BATCHES), check=check)
    choice = choose_runtime(("own", "worse", "fast"), inputs, PLAN, batch=1, reporter=NullReporter())
    assert choice.runtime == "fast"
    assert [row["metric"]["value"] for row in choice.rows] == [0.9, 0.88, 0.895]
    note = choice.notes[0]
    assert (note.code, note.subject) == ("profile.runtime_loses_metric", "worse")
    assert render(note) == "runtime worse was not chosen: accuracy on the validation split is 0.88, and 0.9 in own"


def test_one_that_is_not_faster_does_not_win(tiny, monkeypatch):
    runtime(
        monkeypatch,
        own=slowed(OnnxRuntimeRunner, 2),
        slower=slowed(OnnxRuntimeRunner, 2.3),
    )
    assert chosen(("own", "slower"), tiny).runtime == "own"


def test_each_runtime_runs_the_file_that_was_made_for_it(tiny, save, monkeypatch):
    runtime(
        monkeypatch,
        own=slowed(OnnxRuntimeRunner, 4),
        fast=OnnxRuntimeRunner,
        plain=slowed(OnnxRuntimeRunner, 8),
    )
    special = save("special.onnx", network())
    opened = []
    real = runtimes.open_runner
    monkeypatch.setattr(runtimes, "open_runner", lambda name, path, **_: opened.append((name, path)) or real(name, path))
    files = {"teacher": tiny, "artifact": tiny}
    names = ("own", "fast", "plain")
    made = {"fast": special}
    inputs = RuntimeInputs(files, dict.fromkeys(files, BATCHES), variants=made)
    choice = choose_runtime(names, inputs, PLAN, batch=1, reporter=NullReporter())
    assert {name for name, path in opened if path == special} == {"fast"}
    assert ("fast", tiny) in opened  # the teacher
    assert choice.runtime == "fast"
    assert [row["file"] for row in choice.rows] == ["tiny.onnx", "special.onnx", "tiny.onnx"]
    assert choice.notes[-1].values["file"] == "special.onnx"
    assert "measured in fast on special.onnx, the fastest" in render(choice.notes[-1])


def test_one_that_is_not_installed_is_skipped_with_the_reason(tiny, monkeypatch):
    runtime(monkeypatch, own=OnnxRuntimeRunner, gone=NotInstalled)
    choice = chosen(("own", "gone"), tiny)
    assert choice.runtime == "own"
    assert [row["runtime"] for row in choice.rows] == ["own"]
    ((skip),) = choice.skipped
    assert (skip.code, skip.subject) == ("profile.runtime_failed", "gone")
    assert render_subject(skip) == "runtime gone"
    assert "pip install" in render(skip)


def test_an_execution_provider_that_is_not_there_is_skipped(tiny):
    choice = chosen(("onnxruntime", "onnxruntime:qnn"), tiny)
    assert choice.runtime == "onnxruntime"
    assert "has no QNNExecutionProvider" in choice.skipped[0].values["error"]


def test_what_the_own_runtime_cannot_run_is_an_error(tmp_path):
    with pytest.raises(ConversionError, match="no such file"):
        chosen(("onnxruntime", "openvino"), tmp_path / "nowhere.onnx")
    with pytest.raises(CompressError, match="did you mean 'openvino'"):
        open_runner("openvinno", tmp_path)


def test_openvino_is_compared_with_onnx_runtime(tiny):
    pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'compress[openvino]'")
    choice = chosen(("onnxruntime", "openvino"), tiny)
    assert [row["runtime"] for row in choice.rows] == ["onnxruntime", "openvino"]
    assert choice.rows[1]["top1_agreement"]["value"] == 1.0
    assert choice.rows[1]["largest_difference"] < 1e-4
    assert sum(row["chosen"] for row in choice.rows) == 1


def test_files_on_their_own_are_measured_in_the_fastest_too(tiny, monkeypatch):
    runtime(monkeypatch, onnxruntime=slowed(OnnxRuntimeRunner, 4), fast=OnnxRuntimeRunner)
    device = host().model_copy(update={"runtimes": ("fast",)})
    said = []

    class Lines(NullReporter):
        def line(self, text):
            said.append(text)

    (row,) = profile_files([tiny], [device], seconds=0.05, reporter=Lines())
    assert row.quantities["latency_p50_ms"].value < 4
    assert any("measured in fast" in line for line in said)


def test_agreement_counts_classes_and_the_largest_difference():
    ours = [[np.array([[1.0, 2.0], [3.0, 0.0]])], [np.array([[0.0, 4.0]])]]
    theirs = [[np.array([[1.0, 2.0], [3.0, 3.5]])], [np.array([[0.0, 4.0]])]]
    found = compare_runtimes(ours, theirs)
    assert found.difference == pytest.approx(3.5 / 4)
    assert found.top1 == pytest.approx(2 / 3)
    assert found.samples == 3
    assert not found.holds
    assert compare_runtimes(ours, ours).holds
    disagreement = Fact.of(
        "profile.runtime_disagrees", "fast",
        difference=found.difference, top1=found.top1, samples=found.samples, largest_difference=0.1, least_agreement=0.98,
    )  # fmt: skip
    assert render(disagreement) == (
        "runtime fast was not chosen: outputs differ by up to 0.88 of the largest, the same class for 66.7% of 3 samples; "
        "required are at most 0.1 and at least 98%"
    )


def test_agreement_of_outputs_without_classes_or_with_not_a_number():
    maps = [[np.ones((1, 2, 3, 3))]]
    assert compare_runtimes(maps, maps).top1 is None
    assert compare_runtimes(maps, maps).holds
    broken = [[np.full((1, 2, 3, 3), np.nan)]]
    assert not compare_runtimes(maps, broken).holds
    assert compare_runtimes(maps, broken).difference == float("inf")
    assert compare_runtimes([[np.zeros((1, 2))]], [[np.zeros((1, 2))]]).difference == 0.0


def test_every_output_counts(save):
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Identity", ["a"], ["y"])]
    path = save("two.onnx", model(nodes, {}, "y"))
    with open_runner("onnxruntime", path) as runner:
        (output,) = runner.run(BATCHES[0])
    assert compare_runtimes([[output, output]], [[output, output + 1]]).difference == pytest.approx(1 / output.max())
