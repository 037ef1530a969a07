"""Rows by sequence length for files and for the stage."""

import numpy as np
import pytest
import torch

from compress.config.devices import load_device
from compress.core.network_spec import NetworkSpec
from compress.core.progress import NullReporter
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.core.stage import Candidate
from compress.data.batch import Batch
from compress.data.interface import Data
from compress.profile import lengths
from compress.profile.file_inputs import plan_inputs
from compress.profile.latency.by_length import LengthGrid
from compress.profile.lengths import LengthRequest, at_typical_length, estimate_lengths, measure_file_lengths, sweep_rows
from compress.profile.stage import Profile
from compress.profile.this_machine import ProfileResult
from tests.profile.conftest import FixedSplit
from tests.profile.onnx_models import encoder, network

IDS = TensorSpec(name="input_ids", dtype="int64", shape=("batch", "sequence"), values=(0, 9))


@pytest.fixture
def file(save):
    return save("encoder.onnx", encoder(width=64))


def test_samples_get_the_typical_length() -> None:
    signature = Signature(inputs=(IDS,), sizes={"sequence": AxisSizes(1, 5, 9)})
    ids = np.arange(6).reshape(2, 3)
    assert at_typical_length({"input_ids": ids}, signature, "sequence")["input_ids"].tolist() == [
        [0, 1, 2, 0, 1],
        [3, 4, 5, 3, 4],
    ]
    assert at_typical_length({"input_ids": ids}, signature, None)["input_ids"] is ids


def test_estimates_grow_with_the_length_and_say_what_they_lack(file) -> None:
    grid = LengthGrid("sequence", (16, 256, 2048), (1,), 1024)
    device = load_device("pi5")
    feeds = plan_inputs(file).feeds
    rows = estimate_lengths({"artifact": file}, lambda _, batch, size: feeds(batch, sizes={"sequence": size}), grid, device)
    short, long, over = (row.quantities for row in rows)
    assert short["latency_p50_ms"].how == short["tokens_per_s"].how == "estimated"
    assert 0 < short["latency_p50_ms"].value < long["latency_p50_ms"].value
    assert long["tokens_per_s"].value == pytest.approx(256 * 1000 / long["latency_p50_ms"].value)
    assert short["memory_bytes"].how == short["latency_p99_ms"].how == "not measured"
    assert over["latency_p50_ms"].detail == "the network takes at most 1024 tokens"


def test_files_without_tokens_and_devices_over_ssh_are_skipped(file, tiny, save) -> None:
    files = {"encoder": file, "image": save("image.onnx", network())}
    inputs = {name: plan_inputs(path) for name, path in files.items()}
    remote = load_device("pi5").model_copy(update={"connection": "ssh", "name": "board"})
    request = LengthRequest((8, 16), seconds=0.05)
    rows, skipped = measure_file_lengths(files, [load_device("host"), remote], inputs, request, NullReporter())
    assert [(row.subject, row.axis, row.length) for row in rows] == [("encoder", "sequence", 8), ("encoder", "sequence", 16)]
    assert [(fact.code, fact.subject) for fact in skipped] == [
        ("profile.no_length_axis", "image"),
        ("profile.lengths_not_local", "board"),
    ]
    assert [row["size"] for row in sweep_rows(rows)] == [8, 16]
    assert measure_file_lengths(files, [], inputs, LengthRequest(()), NullReporter()) == ((), ())
    assert lengths.measure_file_lengths({"image": tiny}, [], {"image": plan_inputs(tiny)}, request, NullReporter())[0] == ()


def test_the_stage_measures_here_and_estimates_elsewhere_at_each_length(save, make_context, tmp_path) -> None:
    signature = Signature(inputs=(IDS,), sizes={"sequence": AxisSizes(1, 32, 64)})
    spec = NetworkSpec(signature=signature, classes=("a", "b"))
    ids = torch.arange(20).reshape(4, 5) % 10
    split = FixedSplit(ids, torch.tensor([0, 1, 0, 1]))
    split.ordered = lambda size: [
        Batch({"input_ids": part}, {"target": target})
        for part, target in zip(ids.split(size), split.targets.split(size), strict=True)
    ]
    teacher = save("teacher.onnx", encoder(width=128))
    context = make_context(Data(spec, split, split, split), folder=tmp_path, cache=tmp_path, teacher_files=(teacher,))
    candidate = Candidate(spec, files={"onnxruntime": save("artifact.onnx", encoder())})
    stage = Profile(devices=("phone",), seconds=0.05, lengths=(16, 32))
    outcome = stage.run(candidate, context)
    assert [(row.subject, row.length, row.quantities["latency_p50_ms"].how) for row in outcome.length_rows] == [
        (subject, length, "estimated") for length in (16, 32) for subject in ("teacher", "artifact")
    ]
    assert {row.inputs for row in outcome.benchmark_rows} == {"input_ids 1×32"}  # the typical length, not that of the samples
    result = ProfileResult((), {}, (), runtime="onnxruntime", artifact=candidate.files["onnxruntime"])
    here = stage._lengths({"artifact": teacher}, load_device("host"), candidate, context, result)
    assert [(row.subject, row.length, row.quantities["latency_p50_ms"].how) for row in here] == [
        ("artifact", length, "measured") for length in (16, 32)
    ]
    assert Profile(lengths=(8, 9, 10)).smoke().lengths == (8,)
