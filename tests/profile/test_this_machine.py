from pathlib import Path

import numpy as np
import pytest

from compress.config.devices import host
from compress.core.fact import Fact
from compress.core.progress import NullReporter
from compress.profile import this_machine
from compress.profile.fastest_runtime import RuntimeChoice
from compress.profile.latency.interleave import Samples, Warmup
from compress.profile.latency.timing import Timing
from compress.profile.this_machine import COMPARED_SAMPLES, ProfileRequest, batches, profile, samples
from tests.profile.onnx_models import network

CONTRACT = host().contract.model_copy(update={"batch": 2, "affinity": ()})
DEVICE = host().model_copy(update={"contract": CONTRACT, "runtime": "onnxruntime", "runtimes": ()})
SEVERAL = DEVICE.model_copy(update={"runtimes": ("openvino",)})


class Calls:
    """Stand-ins for the measurements, which record how they were called."""

    def __init__(self) -> None:
        self.measured = self.compared = self.swept = None

    def measure_rows(self, files, feeds, _device, plan, *, batch, **_):
        self.measured = {"files": files, "feeds": feeds, "plan": plan, "batch": batch}
        taken = Samples(np.ones(8), np.arange(8), Warmup(1, 0.0, steady=True))
        return (), {name: Timing(taken, {"runtime": plan.runtime}, "here") for name in files}

    def choose_runtime(self, runtimes, inputs, _plan, *, batch, **_):
        self.compared = {"runtimes": runtimes, "inputs": inputs, "batch": batch}
        row = {"runtime": "openvino", "chosen": True}
        return RuntimeChoice("openvino", (row,), (Fact.of("skip", "tensorrt"),), (Fact.of("note", "openvino"),))

    def sweep(self, path, feeds, sizes, thread_counts, plan, **_):
        self.swept = {"path": path, "sizes": sizes, "threads": thread_counts, "plan": plan, "inputs": feeds(3)}
        return ({"batch": 3},), (Fact.of("sweep", "a"),)


@pytest.fixture
def calls(monkeypatch) -> Calls:
    recorded = Calls()
    for name in ("measure_rows", "choose_runtime", "sweep"):
        monkeypatch.setattr(this_machine, name, getattr(recorded, name))
    return recorded


@pytest.fixture
def files(save) -> dict[str, Path]:
    """Two files whose inputs have different names."""
    teacher = network()
    teacher.graph.input[0].name = teacher.graph.node[0].input[0] = "image"
    return {"teacher": save("teacher.onnx", teacher), "artifact": save("artifact.onnx", network())}


def run(files, split, request, device=DEVICE):
    return profile(files, split, device, request, NullReporter())


def test_every_file_gets_the_same_samples_under_the_name_of_its_input(calls, files, split):
    result = run(files, split, ProfileRequest())
    feeds = calls.measured["feeds"]
    assert {name: list(inputs) for name, inputs in feeds.items()} == {"teacher": ["image"], "artifact": ["x"]}
    assert np.array_equal(feeds["teacher"]["image"], split.inputs[:2].numpy())
    assert feeds["teacher"]["image"] is feeds["artifact"]["x"]
    assert calls.measured["batch"] == 2
    assert (result.runtime, result.artifact, dict(result.tables)) == ("onnxruntime", files["artifact"], {})
    assert calls.compared is calls.swept is None


def test_the_fastest_runtime_measures_all_and_its_own_file_of_the_artifact(calls, files, split, save):
    special = save("special.onnx", network())
    result = run(files, split, ProfileRequest(variants={"openvino": special}), SEVERAL)
    assert calls.compared["runtimes"] == ("onnxruntime", "openvino")
    assert calls.compared["inputs"].variants == {"openvino": special}
    assert calls.measured["plan"].runtime == "openvino"
    assert calls.measured["files"] == files | {"artifact": special}
    assert (result.runtime, result.artifact) == ("openvino", special)
    assert result.tables["runtimes"] == ({"device": "host", "runtime": "openvino", "chosen": True},)
    assert [fact.code for fact in result.skipped] == ["skip"]
    assert result.notes[0].code == "note"


def test_a_runtime_that_was_chosen_before_is_not_chosen_again(calls, files, split):
    result = run(files, split, ProfileRequest(runtime="openvino"), SEVERAL)
    assert calls.compared is None
    assert result.runtime == calls.measured["plan"].runtime == "openvino"


@pytest.mark.parametrize(
    ("request_fields", "sizes", "threads"),
    [
        ({"batches": (3, 4)}, (3, 4), (5,)),
        ({"thread_counts": (1, 2)}, (2,), (1, 2)),
        ({"batches": (3,), "thread_counts": (1, 2)}, (3,), (1, 2)),
    ],
)
def test_a_sweep_over_one_keeps_the_other(calls, files, split, request_fields, sizes, threads):
    result = run(files, split, ProfileRequest(threads=5, **request_fields))
    assert (calls.swept["sizes"], calls.swept["threads"]) == (sizes, threads)
    assert calls.swept["path"] == files["artifact"]
    assert calls.swept["inputs"]["x"].shape[0] == 3
    assert result.tables["sweep"] == ({"device": "host", "batch": 3},)
    assert [fact.code for fact in result.skipped] == ["sweep"]


@pytest.mark.parametrize("size", [1, 5, 11, 12, 30])
def test_samples_are_the_first_of_the_split_and_repeat_at_its_end(split, size):
    (array,) = samples(split, size).values()
    assert array.shape == (size, 3, 8, 8)
    assert array.flags.c_contiguous
    for index in range(size):
        assert np.array_equal(array[index], split.inputs[index % 11].numpy())


@pytest.mark.parametrize("batch", [1, 2, 4, 11])
def test_batches_are_full_and_in_order(split, files, batch):
    arrays = [feeds["image"] for feeds in batches(split, batch, files["teacher"])]
    assert all(len(array) == batch for array in arrays)
    assert np.array_equal(np.concatenate(arrays), split.inputs[: 11 // batch * batch].numpy())


def test_a_split_smaller_than_a_batch_gives_one_batch(split, files):
    (feeds,) = batches(split, 16, files["teacher"])
    assert np.array_equal(feeds["image"], samples(split, 16)["input"])


def test_no_more_samples_are_compared_than_needed(split, files):
    wide = type(split)(split.inputs.repeat(20, 1, 1, 1), split.targets.repeat(20))
    assert sum(len(feeds["image"]) for feeds in batches(wide, 4, files["teacher"])) == COMPARED_SAMPLES
