import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from onnx import helper
from pydantic import ValidationError

from compress.config.devices import host, load_device
from compress.core.errors import DeviceError
from compress.core.sentences import render, render_subject
from compress.core.stage import Candidate, Context
from compress.profile.stage import Profile, files_for, size_ratios
from tests.profile.onnx_models import model, network


@pytest.fixture
def context(make_context, data, tmp_path, save):
    teacher = save("teacher.onnx", network(channels=256))
    student = save("student.onnx", network(channels=64))
    return make_context(data, folder=tmp_path, cache=tmp_path, teacher_files=(teacher,), float_file=student)


@pytest.fixture
def candidate(data, tiny):
    return Candidate(data.spec, files={"onnxruntime": tiny})


def test_all_three_are_measured_and_compared(candidate, context):
    outcome = Profile(devices=("host", "phone"), seconds=0.05).run(candidate, context)
    assert outcome.candidate is candidate
    assert "sweep" not in outcome.tables
    assert [(row.device, row.subject) for row in outcome.benchmark_rows] == [
        (device, subject) for device in ("host", "mobile_cpu") for subject in ("teacher", "student", "artifact")
    ]
    teacher, _, artifact = (row.quantities for row in outcome.benchmark_rows[:3])
    expected = teacher["size_bytes"].value / artifact["size_bytes"].value
    assert outcome.results["size_ratio_vs_teacher"].value == pytest.approx(expected)
    assert outcome.results["speedup_vs_teacher"].how == "measured"
    assert {"speedup_vs_student", "size_ratio_vs_student"} <= set(outcome.results)
    assert outcome.results["speedup_vs_teacher_periodic"].how == outcome.results["speedup_vs_teacher_cold"].how == "measured"
    assert artifact["latency_periodic_ms"].how == artifact["latency_cold_ms"].how == "measured"
    assert "30 inputs per second" in artifact["latency_periodic_ms"].detail
    assert outcome.benchmark_rows[-1].quantities["latency_cold_ms"].how == "not measured"
    for name in (
        "latency_p50_ms",
        "latency_periodic_ms",
        "latency_cold_ms",
        "latency_p90_ms",
        "latency_p99_ms",
        "throughput_per_s",
        "memory_bytes",
        "power_w",
        "energy_j",
    ):
        assert all(name in row.quantities for row in outcome.benchmark_rows)
    notes = {note.code: note for note in outcome.notes}
    assert notes["profile.measured_on"].values["batch"] == 1
    assert notes["profile.contract_short"].values["seconds"] == 0.05
    assert "timed in turns" in render(notes["profile.measured_on"])
    assert "arrive back to back" in render(notes["profile.arrival"])
    assert {"profile.idle_states", "profile.idle_states_unreadable"} & set(notes)
    assert "contract not met: 0.05 s per file instead of 2 s" in render(notes["profile.contract_short"])


def test_an_artifact_that_is_not_faster_is_said(data, context, save):
    slow = Candidate(data.spec, files={"onnxruntime": save("slow.onnx", network(channels=2000))})
    notes = Profile(seconds=0.05).run(slow, context).notes
    assert [note.subject for note in notes if note.code == "profile.not_faster"] == ["teacher", "student"]


def test_a_torch_candidate_goes_through_its_onnx_file(data, context, tiny):
    candidate = Candidate(data.spec, module=SimpleNamespace())
    with_export = Context(**(vars(context) | {"to_onnx": lambda _: tiny, "float_file": tiny}))
    assert files_for(host(), candidate, with_export) == {"teacher": context.teacher_files[0], "artifact": tiny}
    with pytest.raises(TypeError, match="to_onnx"):
        files_for(host(), candidate, context)


def test_each_runtime_gets_its_own_file_and_teachers_are_numbered(data, context, tiny, save):
    special = save("special.onnx", network())
    candidate = Candidate(data.spec, files={"onnxruntime": tiny, "tensorrt": special})
    two = Context(**(vars(context) | {"teacher_files": (tiny, special)}))
    assert files_for(load_device("jetson"), candidate, two)["artifact"] == special
    assert files_for(load_device("phone"), candidate, two)["artifact"] == tiny
    assert list(files_for(host(), candidate, two)) == ["teacher", "teacher_2", "student", "artifact"]


def test_what_was_chosen_before_is_measured_on_its_file_and_not_chosen_again(candidate, context, save, monkeypatch):
    pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'compress[openvino]'")
    monkeypatch.setattr("compress.profile.this_machine.choose_runtime", None)
    special = save("special.onnx", network())
    files = {**candidate.files, "openvino": special}
    device = host().model_copy(update={"runtimes": ("openvino",)})
    chosen = Candidate(candidate.spec, files=files, runtimes={"host": "openvino"})
    with_targets = Context(**(vars(context) | {"targets": (device,)}))
    outcome = Profile(seconds=0.05, soak_seconds=0.2).run(chosen, with_targets)
    artifact = next(row for row in outcome.benchmark_rows if row.subject == "artifact")
    assert artifact.file == "special.onnx"
    assert artifact.runtime.startswith("OpenVINO")
    assert "OpenVINO" in artifact.quantities["memory_bytes"].detail
    assert artifact.quantities["memory_arena_bytes"].how == "not measured"
    assert "OpenVINO" in outcome.results["soak_latency_drift"].detail
    (skip,) = (skip for skip in outcome.skipped if skip.code == "profile.layers_other_runtime")
    assert skip.values["runtime"] == "openvino"
    assert render_subject(skip) == "time by layer"


def test_what_cannot_be_estimated_is_skipped_with_the_reason(data, context, save):
    nodes = [helper.make_node("NonZero", ["x"], ["i"]), helper.make_node("Cast", ["i"], ["y"], to=1)]
    odd = Candidate(data.spec, files={"onnxruntime": save("odd.onnx", model(nodes, {}, "y"))})
    outcome = Profile(devices=("jetson",)).run(odd, context)
    assert outcome.benchmark_rows == ()
    ((skip),) = outcome.skipped
    assert (skip.code, skip.subject) == ("profile.estimate_failed", "jetson_orin_nano")
    assert "unknown" in skip.values["error"]


def test_devices_are_those_of_the_recipe_where_it_has_them(candidate, context):
    own = load_device("mobile_cpu").model_copy(update={"title": "mine"})
    with_targets = Context(**(vars(context) | {"targets": (own,)}))
    outcome = Profile(devices=("phone", "mobile_cpu")).run(candidate, with_targets)
    assert len(outcome.benchmark_rows) == 3
    assert "mine" in outcome.benchmark_rows[0].quantities["latency_p50_ms"].detail


def test_surroundings_change_with_the_devices():
    both = Profile(devices=("host", "jetson")).cache_inputs(())
    assert set(both) == {"host", "jetson_orin_nano"}
    assert "onnxruntime" in both["host"]
    changed = load_device("jetson").model_copy(update={"threads": 2})
    assert Profile(devices=("jetson",)).cache_inputs((changed,)) != {"jetson_orin_nano": both["jetson_orin_nano"]}
    with pytest.raises(DeviceError, match="did you mean 'jetson'"):
        Profile(devices=("jetsn",)).cache_inputs(())


def test_several_runtimes_are_tried_and_one_reports(candidate, context):
    device = host().model_copy(update={"name": "here", "runtimes": ("openvino", "onnxruntime:qnn")})
    with_targets = Context(**(vars(context) | {"targets": (device,)}))
    outcome = Profile(devices=("here",), seconds=0.05).run(candidate, with_targets)
    rows = outcome.tables["runtimes"]
    assert rows[0]["runtime"] == "onnxruntime"
    assert {row["device"] for row in rows} == {"here"}
    (version,) = (row["version"] for row in rows if row["chosen"])
    assert {row.runtime for row in outcome.benchmark_rows} == {version}
    left_out = {skip.subject for skip in outcome.skipped if skip.code == "profile.runtime_failed"}
    assert "onnxruntime:qnn" in left_out
    assert ("openvino" in left_out) != ("openvino" in {row["runtime"] for row in rows})


def test_the_artifact_is_swept(candidate, context):
    outcome = Profile(seconds=0.02, batches=(1, 16), thread_counts=(1, 2)).run(candidate, context)
    points = [(row["device"], row["batch"], row["threads"]) for row in outcome.tables["sweep"]]
    assert points == [("host", 1, 1), ("host", 1, 2), ("host", 16, 1), ("host", 16, 2)]


def test_threads_stay_on_the_processors_of_the_contract(candidate, context):
    first = min(os.sched_getaffinity(0))
    contract = host().contract.model_copy(update={"affinity": (first,)})
    device = host().model_copy(update={"name": "here", "contract": contract})
    with_targets = Context(**(vars(context) | {"targets": (device,)}))
    outcome = Profile(devices=("here",), seconds=0.02).run(candidate, with_targets)
    if os.cpu_count() > 1:
        assert any(f"affinity pinned to processors {first} of" in render(note) for note in outcome.notes)
    nowhere = device.model_copy(update={"contract": contract.model_copy(update={"affinity": (9999,)})})
    with pytest.raises(DeviceError, match="cannot pin to processors 9999"):
        Profile(devices=("here",), seconds=0.02).run(candidate, Context(**(vars(context) | {"targets": (nowhere,)})))


def test_bad_fields_are_refused():
    for fields in (
        {"devices": ()},
        {"threads": 0},
        {"seconds": 0},
        {"second": 1},
        {"batches": (0,)},
        {"thread_counts": ("two",)},
    ):
        with pytest.raises(ValidationError):
            Profile(**fields)


def test_smoke_is_short():
    assert Profile(seconds=5).smoke().seconds <= 0.1


def test_size_ratios_need_the_artifact_only_once(candidate, context):
    rows = Profile(devices=("desktop_gpu",)).run(candidate, context).benchmark_rows
    assert size_ratios(rows)["size_ratio_vs_teacher"].value > 1


def test_a_recipe_check_imports_nothing_heavy():
    code = (
        "import sys, compress.profile.stage as s; s.Profile(devices=('host', 'jetson')).cache_inputs(());"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_layers_of_student_and_artifact_stand_side_by_side(candidate, context):
    outcome = Profile(seconds=0.05).run(candidate, context)
    rows = outcome.tables["layers_time"]
    assert {"module", "nodes", "operators", "runs_in", "student_ms", "artifact_ms"} == set(rows[0])
    assert ("profile.layers_total", "artifact") in {(note.code, note.subject) for note in outcome.notes}
    assert outcome.curves == {}


def test_a_soak_gives_figures_curves_and_notes(candidate, context):
    outcome = Profile(seconds=0.05, soak_seconds=0.3).run(candidate, context)
    assert outcome.results["soak_outliers"].how == "measured"
    assert {"soak_latency", "soak_memory"} <= set(outcome.curves)
    assert sum(note.code.startswith("profile.soak_") for note in outcome.notes) == 3
    assert Profile(soak_seconds=600).smoke().soak_seconds <= 1
    with pytest.raises(ValidationError):
        Profile(soak_seconds=0)


def test_devices_elsewhere_are_not_looked_at_closely(candidate, context):
    outcome = Profile(devices=("jetson",), soak_seconds=600).run(candidate, context)
    assert "layers_time" not in outcome.tables
    assert outcome.curves == {}
