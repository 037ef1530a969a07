import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from compress.cli import app
from compress.config.devices import host
from compress.config.yaml_writer import dump
from compress.core.errors import ConversionError, DeviceError
from compress.core.progress import NullReporter
from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.profile.benchmark_rows import measure_rows as measure_local_rows
from compress.profile.profile_files import profile_files
from compress.profile.remote.agent_sensors import cpu_name
from compress.profile.remote.inspect_device import inspect_device
from compress.profile.remote.jobs import build_job
from compress.profile.remote.measure import measure_rows
from compress.profile.settings import MeasurementSettings
from compress.profile.stage import Profile
from compress.tasks.classification import Classification
from tests.profile.onnx_models import network

SHORT = MeasurementSettings(threads=1, seconds=0.05, warmup_seconds=0.01, min_runs=6)


def rows_of(files, device, feeds=None, plan=SHORT):
    return measure_rows(files, feeds, device, plan, batch=1, reporter=NullReporter())


def test_rows_come_out_like_local_ones(device, server, tiny, save):
    files = {"teacher": save("teacher.onnx", network(channels=64)), "artifact": tiny}
    inputs = {"x": np.ones((1, 3, 8, 8), np.float32)}
    before = server.connections()
    rows, timings, notes = rows_of(files, device(sensors=host().contract.sensors), dict.fromkeys(files, inputs))
    assert server.connections() == before + 1
    local, _ = measure_local_rows(files, dict.fromkeys(files, inputs), host(), SHORT, batch=1, reporter=NullReporter())
    for ours, theirs in zip(rows, local, strict=True):
        assert (ours.subject, ours.device, ours.runtime) == (theirs.subject, "my_board", theirs.runtime)
        assert set(ours.quantities) == set(theirs.quantities)
        for name, quantity in ours.quantities.items():
            if name in ("latency_p90_ms", "latency_p99_ms"):
                continue  # the number of runs decides, and the machine's speed decides that
            assert (quantity.unit, quantity.how) == (theirs.quantities[name].unit, theirs.quantities[name].how), name
        assert "over SSH at 127.0.0.1" in ours.quantities["latency_p50_ms"].detail
        assert "over SSH at 127.0.0.1" in ours.quantities["memory_bytes"].detail
        assert ours.quantities["size_bytes"] == theirs.quantities["size_bytes"]
        assert ours.inputs == theirs.inputs != ""
    assert len(timings["teacher"].samples.round_medians()) == len(timings["artifact"].samples.round_medians())
    assert notes[0].code == "profile.measured_on"
    assert (notes[-1].code, notes[-1].values["architecture"]) == ("profile.remote_clocks", os.uname().machine)
    assert "Python" in render(notes[-1])


def test_other_hardware_than_the_profile_describes_is_named_and_reported_first(device, tiny):
    board = device().model_copy(update={"title": "Raspberry Pi 5", "identifies_as": ("Raspberry Pi 5",)})
    (row,), _, notes = rows_of({"artifact": tiny}, board)
    measured = cpu_name() or os.uname().machine
    assert notes[0].code == "profile.other_hardware"
    assert "describes Raspberry Pi 5" in render(notes[0])
    assert measured in render(notes[0])
    assert notes[1].subject == measured
    assert "measured on Raspberry Pi" not in " ".join(map(render, notes))
    assert row.other_hardware == measured


def test_weights_beside_the_file_travel_with_it(device, tmp_path):
    path = tmp_path / "outside.onnx"
    onnx.save(network(channels=64), path, save_as_external_data=True, location="outside.bin", size_threshold=0)
    assert (tmp_path / "outside.bin").stat().st_size > 0
    ((row,), _, _) = rows_of({"artifact": path}, device())
    assert row.quantities["latency_p50_ms"].how == "measured"
    (tmp_path / "outside.bin").unlink()
    with pytest.raises(ConversionError, match=r"external data is missing: keep .*outside\.bin"):
        rows_of({"artifact": path}, device())


def test_what_is_no_onnx_file_is_not_even_sent(device, tmp_path):
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(ConversionError, match="not an ONNX file"):
        rows_of({"artifact": tmp_path / "text.onnx"}, device())
    with pytest.raises(ConversionError, match="No such file"):
        rows_of({"artifact": tmp_path / "none.onnx"}, device())


def test_the_same_array_is_sent_once(device, tiny):
    inputs = {"x": np.zeros((1, 3, 8, 8), np.float32)}
    sent = build_job({"a": tiny, "b": tiny}, {"a": inputs, "b": inputs}, device(), {"batch": 1})
    assert len(sent.arrays) == 1
    assert sent.order["feeds"]["a"] == sent.order["feeds"]["b"]


def test_the_stage_measures_there(device, data, tiny, save, tmp_path):
    board = device()
    teacher = save("teacher.onnx", network(channels=256))
    context = Context(
        data=data,
        task=Classification(),
        folder=tmp_path,
        cache=tmp_path,
        teacher_files=(teacher,),
        targets=(board,),
    )
    stage = Profile(devices=("my_board",), seconds=0.05, batches=(1, 2))
    outcome = stage.run(Candidate(data.spec, files={"onnxruntime": tiny}), context)
    assert [(row.device, row.subject) for row in outcome.benchmark_rows] == [("my_board", "teacher"), ("my_board", "artifact")]
    assert outcome.results["speedup_vs_teacher_on_my_board"].how == "measured"
    assert [(skip.code, skip.subject) for skip in outcome.skipped] == [("profile.sweep_not_local", "my_board")]
    assert "my_board" in stage.cache_inputs((board,))
    assert outcome.warnings == ()
    other = board.model_copy(update={"identifies_as": ("Raspberry Pi 5",)})
    outcome = stage.run(Candidate(data.spec, files={"onnxruntime": tiny}), replace(context, targets=(other,)))
    assert [warning.code for warning in outcome.warnings] == ["profile.other_hardware"]
    assert set(outcome.warnings) <= set(outcome.notes)


def test_the_verb_measures_there(device, tiny, tmp_path):
    board = device()
    (tmp_path / "my_board.yaml").write_text(dump(board.model_dump(mode="json", exclude_none=True)))
    given = ["profile", str(tiny), "--devices", str(tmp_path / "my_board.yaml"), "--seconds", "0.05", "--json"]
    done = CliRunner().invoke(app, given, catch_exceptions=False)
    assert done.exit_code == 0
    assert '"device": "my_board"' in done.stdout
    assert "over SSH at 127.0.0.1" in done.stdout


def test_free_sizes_that_nobody_gave_are_typical_ones_and_said_so(device, save):
    path = save("free.onnx", network(shape=["n", 3, "h", "w"]))
    (row,) = profile_files([path], [device()], seconds=0.05)
    assert row.quantities["latency_p50_ms"].how == "measured"
    assert "typical" in row.inputs


def test_chatter_of_a_login_and_odd_paths_do_no_harm(device, program):
    noisy = program(
        "a 'noisy' python", f'#!/bin/sh\necho "Welcome! {chr(27)}[31m"\necho "quota: 3" >&2\nexec {sys.executable} "$@"\n'
    )
    assert inspect_device(device(python=noisy)).onnxruntime


def test_power_is_read_there(device, tiny, program):
    tool = program(
        "tegrastats", "#!/bin/sh\nwhile sleep 0.02; do echo 'RAM 1/2MB VDD_IN 4500mW/4500mW VDD_SOC 100mW/100mW'; done\n"
    )
    python = program("python-with-path", f'#!/bin/sh\nPATH={Path(tool).parent}:$PATH exec {sys.executable} "$@"\n')
    ((row,), _, _) = rows_of({"artifact": tiny}, device(sensors=("rapl", "tegrastats"), python=python))
    power = row.quantities["power_w"]
    if "tegrastats" in power.detail:
        assert power.value == pytest.approx(4.5)
        assert row.quantities["idle_w"].value == pytest.approx(4.5)
        assert "over SSH" in power.detail
    else:
        assert power.how == "measured"
        assert "RAPL" in power.detail


FAKE_TRTEXEC = """#!{python}
import json, pathlib, sys
pathlib.Path({log!r}).open("a").write(json.dumps(sys.argv[1:]) + chr(10))
given = dict(part.lstrip("-").partition("=")[::2] for part in sys.argv[1:])
print("&&&& RUNNING TensorRT.trtexec [TensorRT v{version}] # trtexec")
if "help" in given:
    sys.exit()
if "onnx" in given:
    if {refuse!r} in given["onnx"]:
        print("[E] Error[9]: no converter for node Odd")
        sys.exit(1)
    assert pathlib.Path(given["onnx"]).stat().st_size
    pathlib.Path(given["saveEngine"]).write_bytes(b"engine")
else:
    assert pathlib.Path(given["loadEngine"]).read_bytes() == b"engine"
    name, file = given["loadInputs"].split(":")
    assert pathlib.Path(file).stat().st_size == 4 * 3 * 8 * 8
    trace = [dict(computeMs=0.25, latencyMs=0.5) for _ in range(10)]
    pathlib.Path(given["exportTimes"]).write_text(json.dumps(trace))
"""


@pytest.fixture
def trtexec(program, tmp_path):
    def make(version="101300", refuse="never"):
        text = FAKE_TRTEXEC.format(python=sys.executable, log=str(tmp_path / "calls"), version=version, refuse=refuse)
        return program("trtexec", text)

    return make


def test_engines_are_built_and_timed_there(device, tiny, trtexec, tmp_path):
    files = {"teacher": tiny, "artifact": tiny}
    rows, timings, _ = rows_of(files, device(runtime="tensorrt", trtexec=trtexec()))
    assert [row.runtime for row in rows] == ["TensorRT 10.13.0"] * 2
    assert rows[0].quantities["latency_p50_ms"].value == 0.25
    assert rows[0].quantities["memory_bytes"].how == "not measured"
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    builds = [call for call in calls if "--skipInference" in call]
    assert len(builds) == 2
    assert {"--stronglyTyped", "--optShapes=x:1x3x8x8"} <= set(builds[0])
    paused = [call for call in calls if "--idleTime=33" in call]
    assert len(paused) == 2
    assert rows[0].quantities["latency_periodic_ms"].value == 0.25
    assert rows[0].quantities["latency_cold_ms"].how == "not measured"
    turns = [call[0] for call in calls if call[0].startswith("--loadEngine") and call not in paused]
    first, second = turns[:2]
    assert turns == [first, second, second, first] * (len(turns) // 4)
    assert len(timings["artifact"].samples.round_medians()) == len(turns) // 2


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"version": "8502"}, r"TensorRT 8\.5\.2 .* is too old"),
        ({"refuse": "tiny"}, "no converter for node Odd"),
    ],
)
def test_what_trtexec_refuses_is_told(device, tiny, trtexec, how, match):
    with pytest.raises(DeviceError, match=match):
        rows_of({"artifact": tiny}, device(runtime="tensorrt", trtexec=trtexec(**how)))


def test_no_trtexec_says_where_it_was_looked_for(device, tiny):
    with pytest.raises(DeviceError, match=r"no trtexec on the device; looked for /nonexistent/trtexec"):
        rows_of({"artifact": tiny}, device(runtime="tensorrt", trtexec="/nonexistent/trtexec"))
