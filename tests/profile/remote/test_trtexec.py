import json
from pathlib import Path

import pytest

from compress.core.record import Quantity
from compress.profile import power as sensors
from compress.profile.remote import trtexec
from compress.profile.remote.trtexec import NoTrtexec, Refused, find_trtexec, measure, version
from tests.profile.power.fake_sensor import Fake


@pytest.mark.parametrize(
    ("printed", "expected"), [("v8502", "8.5.2"), ("v100300", "10.3.0"), ("v101303", "10.13.3"), ("v", "of unknown version")]
)
def test_versions_of_tensorrt(program, printed, expected):
    assert (
        version(program("trtexec", f'#!/bin/sh\necho "&&&& RUNNING TensorRT.trtexec [TensorRT {printed}] # trtexec --help"\n'))
        == expected
    )


def test_the_program_is_that_of_the_profile_else_the_one_on_the_path(program, monkeypatch, tmp_path):
    own = program("trtexec", "#!/bin/sh\n")
    assert find_trtexec(own) == own
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_trtexec(None) == own
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(trtexec, "USUAL", (str(tmp_path / "none"), own))
    assert find_trtexec(None) == own
    with pytest.raises(NoTrtexec, match="looked for /nonexistent/trtexec"):
        find_trtexec("/nonexistent/trtexec")


def test_a_program_that_fails_is_refused_with_its_error_lines(program, tmp_path):
    path = program("fails", "#!/bin/sh\necho starting\necho '[E] no converter'\nexit 3\n")
    with pytest.raises(Refused, match=r"ended with 3: \[E\] no converter$"):
        trtexec._run([path], tmp_path)
    assert "starting" in trtexec._run([path], tmp_path, allowed=(3,))
    (tmp_path / "binary").write_text("")
    with pytest.raises(Refused, match="does not start"):
        trtexec._run([str(tmp_path / "binary")], tmp_path)


NAMES = ("a", "b")
ORDER = {
    "trtexec": None, "sensors": (), "power_seconds": 0.0, "batch": 2, "arrivals_per_s": 50.0,
    "build": {name: [f"--onnx={name}"] for name in NAMES}, "time": {name: [f"--loadEngine={name}"] for name in NAMES},
}  # fmt: skip


@pytest.fixture
def calls(tmp_path, monkeypatch) -> list[list[str]]:
    """Calls of a program that takes 2 ms for `a` and 4 ms for `b`, ten inferences a run."""
    recorded: list[list[str]] = []

    def run(command: list[str], here: Path, _allowed: tuple[int, ...] = (0,)) -> str:
        recorded.append(command[1:])
        if "--exportTimes=times.json" in command:
            milliseconds = 2.0 if "--loadEngine=a" in command else 4.0
            (here / "times.json").write_text(json.dumps([{"computeMs": milliseconds, "latencyMs": 9.0}] * 10))
        return "Selected Device: Orin\n"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trtexec, "_run", run)
    monkeypatch.setattr(trtexec, "find_trtexec", lambda _: "trtexec")
    monkeypatch.setattr(trtexec, "version", lambda _: "10.3.0")
    return recorded


def test_engines_are_timed_in_turns_whose_order_is_reversed(calls):
    progress: list[float] = []
    result = measure(ORDER, progress.append)
    timed = [call[0].removeprefix("--loadEngine=") for call in calls if call[0].startswith("--loadEngine")]
    rounds = trtexec.ROUNDS
    assert timed[: 2 * rounds] == ["a", "b", "b", "a"] * (rounds // 2)
    for name, expected in (("a", 2.0), ("b", 4.0)):
        assert result[name]["milliseconds"] == [expected] * 10 * rounds
        assert result[name]["rounds"] == [index for index in range(rounds) for _ in range(10)]
        assert result[name]["settings"]["device"] == "Orin"
        assert result[name]["settings"]["runtime"] == "TensorRT 10.3.0"
    assert progress == sorted(progress)
    assert progress[-1] == 1.0


def test_periodic_inputs_pause_for_the_rest_of_their_period(calls):
    measure(ORDER, lambda _: None)
    pauses = {call[0]: argument for call in calls for argument in call if argument.startswith("--idleTime")}
    assert pauses == {"--loadEngine=a": "--idleTime=18", "--loadEngine=b": "--idleTime=16"}  # 20 ms less the latency


@pytest.mark.parametrize("release", ["8.5.2", "9.3.0"])
def test_an_old_version_is_refused(calls, monkeypatch, release):
    monkeypatch.setattr(trtexec, "version", lambda _: release)
    with pytest.raises(Refused, match=f"{release} at trtexec is too old"):
        measure(ORDER, lambda _: None)
    assert calls == []


def test_power_is_missing_with_the_reason_without_a_sensor(calls):
    result = measure(ORDER, lambda _: None)
    for name in NAMES:
        quantities = {key: Quantity(**fields) for key, fields in result[name]["power"].items()}
        assert set(quantities) == {"power_w", "idle_w", "energy_j"}
        assert all(quantity.how == "not measured" for quantity in quantities.values())


def test_energy_is_the_power_above_idle_times_the_time_of_a_sample(monkeypatch):
    import time

    sensor = Fake(watts=4.0, rate_hz=500.0)
    monkeypatch.setattr(sensors, "open_sensors", lambda _: (sensor,))

    def action() -> list[float]:
        sensor.watts = 9.0
        time.sleep(0.2)
        sensor.watts = 4.0
        return [2.0] * 50

    fields = trtexec.power({"a": action}, {"sensors": (), "power_seconds": 0.05, "batch": 4})["a"]
    quantities = {key: Quantity(**values) for key, values in fields.items()}
    assert quantities["idle_w"].value == pytest.approx(4.0)
    assert quantities["power_w"].value == pytest.approx(9.0)
    assert quantities["energy_j"].value == pytest.approx((9.0 - 4.0) * 0.002 / 4)
