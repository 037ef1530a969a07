import os
from pathlib import Path

import numpy as np
import pytest

from compress.backends.runner_protocol import TimedPhases
from compress.config.devices import host, load_device
from compress.config.devices.hardware_identity import ReportedHardware
from compress.core.errors import DeviceError
from compress.core.progress import NullReporter
from compress.core.record import LATENCY_BY_ARRIVAL, Quantity
from compress.profile import benchmark_rows
from compress.profile.benchmark_rows import (
    PHASE_RUNS,
    contract_notes,
    copy_and_compute,
    estimate_rows,
    latencies,
    measure_rows,
)
from compress.profile.cost_model import estimate as cost
from compress.profile.latency.interleave import Samples, Warmup
from compress.profile.latency.timing import Timing
from compress.profile.settings import MeasurementSettings
from tests.profile.onnx_models import network

CONTRACT = host().contract.model_copy(
    update={"seconds": 2.0, "min_runs": 30, "percentiles": (50.0, 90.0), "sensors": (), "affinity": ()}
)
DEVICE = host().model_copy(update={"contract": CONTRACT})


def timing(milliseconds, *, steady=True, share=1.0):
    samples = Samples(np.asarray(milliseconds, float), np.arange(len(milliseconds)), Warmup(3, 0.1, steady))
    return Timing(samples, {"runtime": "a runtime 1.0", "threads": "1"}, "here", processor_share=share)


class FakeRunner:
    """A runner that computes nothing and records on which processors it ran."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path(name)
        self.fed: list[np.ndarray] = []
        self.processors: set[int] = set()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def run(self, feeds):
        self.fed.append(feeds["x"])
        self.processors |= os.sched_getaffinity(0)
        return [feeds["x"]]

    def describe(self):
        return {"runtime": "fake 1.0", "threads": "1"}

    def shapes(self):
        return {"x": (("n", 4), "float32")}


@pytest.fixture
def runners(monkeypatch):
    """Runners by file name, in place of real ones; neither memory nor other arrival patterns are measured."""
    opened: dict[str, FakeRunner] = {}

    def open_runner(_runtime, path, *, threads):
        assert threads == 1
        opened[path.name] = FakeRunner(path.name)
        return opened[path.name]

    monkeypatch.setattr(benchmark_rows, "open_runner", open_runner)
    monkeypatch.setattr(benchmark_rows, "time_arrivals", fake_arrivals)
    monkeypatch.setattr(benchmark_rows.memory, "quantities", lambda *_, **__: {"memory_bytes": Quantity.measured(7, "bytes")})
    return opened


def fake_arrivals(actions, *, rate_hz, seconds):
    """Every pattern takes as many milliseconds as its name has letters."""
    assert (rate_hz, seconds) == (CONTRACT.arrivals_per_s, SHORT.seconds * benchmark_rows.ARRIVAL_SHARE)
    return {pattern: {name: timing(np.full(8, len(pattern))).samples for name in actions} for pattern in ("periodic", "cold")}


SHORT = MeasurementSettings(threads=1, seconds=0.01, warmup_seconds=0.0, min_runs=6)


def test_every_file_gets_a_row_with_all_kinds_of_quantities(runners, save):
    files = {"teacher": save("teacher.onnx", network(channels=64)), "artifact": save("artifact.onnx", network())}
    rows, timings = measure_rows(files, None, DEVICE, SHORT, batch=3, reporter=NullReporter())
    assert [(row.subject, row.file, row.runtime, row.local) for row in rows] == [
        ("teacher", "teacher.onnx", "fake 1.0", True),
        ("artifact", "artifact.onnx", "fake 1.0", True),
    ]
    assert set(timings) == set(files)
    for row, path in zip(rows, files.values(), strict=True):
        quantities = row.quantities
        assert quantities["size_bytes"].value == path.stat().st_size
        assert quantities["latency_p50_ms"] == timings[row.subject].p50
        assert set(LATENCY_BY_ARRIVAL.values()) <= set(quantities)
        assert (quantities["latency_periodic_ms"].value, quantities["latency_cold_ms"].value) == (8.0, 4.0)
        assert quantities["memory_bytes"].value == 7
        assert quantities["power_w"].how == "not measured"
        assert 0 < quantities["size_compressed_bytes"].value <= quantities["size_bytes"].value * 1.01
    assert all(fed.shape == (3, 4) and not fed.any() for fed in runners["teacher.onnx"].fed)


def test_inputs_are_those_of_the_subject(runners, save):
    path = save("artifact.onnx", network())
    inputs = np.full((1, 4), 2.5, np.float32)
    measure_rows({"artifact": path}, {"artifact": {"x": inputs}}, DEVICE, SHORT, batch=1, reporter=NullReporter())
    assert all(fed is inputs for fed in runners["artifact.onnx"].fed)


def test_files_run_on_the_processors_of_the_protocol_only(runners, save):
    first = min(os.sched_getaffinity(0))
    plan = MeasurementSettings(threads=1, seconds=0.01, warmup_seconds=0.0, min_runs=6, affinity=(first,))
    before = os.sched_getaffinity(0)
    measure_rows({"artifact": save("a.onnx", network())}, None, DEVICE, plan, batch=1, reporter=NullReporter())
    assert runners["a.onnx"].processors == {first}
    assert os.sched_getaffinity(0) == before


def test_copies_and_computation_are_medians_of_the_devices_own_times():
    draw = np.random.default_rng(0)
    series = draw.gamma(4.0, size=(PHASE_RUNS, 3))

    class Gpu(FakeRunner):
        calls = 0

        def time_phases(self, _feeds):
            Gpu.calls += 1
            return TimedPhases(*series[Gpu.calls - 1])

    phases = copy_and_compute(Gpu("gpu"), {"x": np.zeros((1, 4))})
    assert list(phases) == ["copy_in_ms", "compute_ms", "copy_out_ms"]
    assert [quantity.value for quantity in phases.values()] == pytest.approx(np.median(series, axis=0))
    for quantity in phases.values():
        assert quantity.low <= quantity.value <= quantity.high
        assert quantity.runs == PHASE_RUNS
    assert copy_and_compute(FakeRunner("cpu"), {"x": np.zeros((1, 4))}) == {}


def test_latencies_are_the_percentiles_of_the_timing_and_its_arrival_patterns():
    whole = timing(np.random.default_rng(0).gamma(4.0, size=500))
    patterns = {"periodic": timing(np.full(20, 9.0)).samples, "cold": timing(np.full(20, 5.0)).samples}
    quantities = latencies(whole.with_arrivals(patterns, rate_hz=30), (50, 99.9))
    assert quantities["latency_p50_ms"] == whole.p50
    assert quantities["latency_p99.9_ms"].how == "not measured"
    assert quantities["latency_periodic_ms"].value == 9.0
    assert quantities["latency_cold_ms"].value == 5.0
    assert quantities["throughput_per_s"].value == pytest.approx(1000 / whole.p50.value)


def test_an_estimated_row_has_the_cost_models_latency_and_its_inverse(tiny):
    device = load_device("mobile_cpu")
    (row,) = estimate_rows({"artifact": tiny}, device)
    latency, rate = row.quantities["latency_p50_ms"], row.quantities["throughput_per_s"]
    assert latency == cost.latency(tiny, device)
    assert (rate.value, rate.low, rate.high) == pytest.approx((1e3 / latency.value, 1e3 / latency.high, 1e3 / latency.low))
    measured = {"size_bytes", "weights_bytes"}
    missing = {name for name, quantity in row.quantities.items() if quantity.how == "not measured"}
    assert missing == set(row.quantities) - measured - {"latency_p50_ms", "throughput_per_s"}
    assert all(device.title in row.quantities[name].detail for name in missing)
    assert not row.local


def test_a_device_that_cannot_be_estimated_is_an_error(tiny):
    bare = load_device("mobile_cpu").model_copy(update={"efficiency": None})
    with pytest.raises(DeviceError, match="has no efficiency"):
        estimate_rows({"artifact": tiny}, bare)


FULL = MeasurementSettings(threads=1, seconds=2.0, warmup_seconds=0.3, min_runs=30)
GOOD = timing(np.ones(30))


def broken_parts(timings, plan=FULL):
    notes = contract_notes(DEVICE, plan, timings)
    return {note.code for note in notes if note.code.startswith("profile.contract_")}


@pytest.mark.parametrize(
    ("timings", "plan", "expected"),
    [
        ({"a": GOOD}, FULL, set()),
        ({"a": GOOD}, MeasurementSettings(1, 1.9, 0.3, 30), {"profile.contract_short"}),
        ({"a": timing(np.ones(30), steady=False)}, FULL, {"profile.contract_unsteady"}),
        ({"a": GOOD, "b": timing(np.ones(29))}, FULL, {"profile.contract_few_runs"}),
        ({"a": timing(np.ones(30), share=0.5)}, FULL, {"profile.contract_not_idle"}),
        ({"a": timing(np.ones(30), share=0.5)}, MeasurementSettings(2, 2.0, 0.3, 30), set()),
    ],
)
def test_each_broken_part_of_the_protocol_has_its_note_and_no_other(timings, plan, expected):
    assert broken_parts(timings, plan) == expected


def test_files_with_too_few_runs_are_named_with_their_number():
    (note,) = (
        note
        for note in contract_notes(DEVICE, FULL, {"a": GOOD, "b": timing(np.ones(29))})
        if note.code == "profile.contract_few_runs"
    )
    assert (note.values["files"], note.values["runs"]) == (("b",), (29,))


def test_other_hardware_than_the_profiles_is_the_first_note():
    board = DEVICE.model_copy(update={"name": "board", "title": "Board", "identifies_as": ("Raspberry Pi 5",)})
    same, other = ReportedHardware("Raspberry Pi 5 Model B", "aarch64"), ReportedHardware("Jetson Nano", "aarch64")
    for hardware, first in ((same, "profile.measured_on"), (other, "profile.other_hardware")):
        notes = contract_notes(board, FULL, {"a": GOOD}, hardware=hardware)
        assert notes[0].code == first
    assert contract_notes(board, FULL, {"a": GOOD})[0].subject == "Board"
