import time

import pytest

from compress.core.errors import CompressError, DeviceError
from compress.core.record import Fact
from compress.core.sentences import render
from compress.profile.latency.machine_sensors import MachineSensors
from compress.profile.latency.soak import soak, soak_file
from compress.profile.latency.soak_report import Soak, SoakWindow
from compress.profile.parse_duration import parse_duration


def windows(latency=lambda _: 1.0, memory=lambda _: 100e6, clock=lambda _: None, count: int = 30) -> tuple[SoakWindow, ...]:
    return tuple(
        SoakWindow(
            second=10.0 * (n + 1),
            runs=100,
            median_ms=latency(n),
            slowest_ms=2.0,
            outliers=1,
            resident_bytes=int(memory(n)),
            clock_mhz=clock(n),
        )
        for n in range(count)
    )


def shown(**series) -> Soak:
    return Soak(windows(**series), None, {"temperature": "no sensor", "throttles": "not counted"}, "a bench")


def codes(report: Soak) -> dict[str, Fact]:
    return {note.code: note for note in report.notes()}


def test_sentences_begin_with_the_file_where_several_are_soaked():
    (drift, throttling, leak) = shown().notes("small.onnx")
    assert render(drift) == "small.onnx: soak: no drift of the latency beyond noise, +0.0% (+0.0% to +0.0%) over 300 s"
    assert render(throttling) == "small.onnx: soak: throttling could be seen in the latency only: no sensor"
    assert render(leak) == "small.onnx: soak: no leak: resident memory changed by +0.00 MB over 300 s"


def test_drift_is_told_with_its_size():
    found = shown(latency=lambda n: 1.0 + 0.002 * n)
    drift = found.quantities()["soak_latency_drift"]
    assert drift.value == pytest.approx(0.002 * 30 / 1.029, rel=0.01)
    assert drift.low <= drift.value <= drift.high
    assert "profile.soak_drifts_upwards" in codes(found)


def test_noise_is_no_drift():
    found = shown(latency=lambda n: 1.0 + (0.05 if n % 2 else 0.0))
    drift = found.quantities()["soak_latency_drift"]
    assert drift.low <= 0 <= drift.high
    assert "profile.soak_no_drift" in codes(found)


def test_a_leak_is_told_and_a_warm_up_is_none():
    leaking = shown(memory=lambda n: 100e6 + 1e6 * n)
    growth = leaking.quantities()["soak_memory_growth"]
    assert growth.value == pytest.approx(1e6 * 6)
    assert "profile.soak_leak" in codes(leaking)
    once = shown(memory=lambda n: 100e6 + (5e6 if n > 1 else 0))
    assert "profile.soak_no_leak" in codes(once)


def test_throttling_shows_in_clock_or_count():
    slowed = shown(clock=lambda n: 2000.0 - 20 * n)
    assert slowed.quantities()["soak_clock_lowest"].value == pytest.approx(2000 - 20 * 29)
    throttled = codes(slowed)["profile.soak_throttled"]
    assert (throttled.values["first_mhz"], throttled.values["lowest_mhz"]) == (2000, 1420)
    assert "the clock went from 2000 down to 1420 MHz" in render(throttled)
    counted = Soak(windows(clock=lambda _: 2000.0), 3, {}, "a bench")
    assert codes(counted)["profile.soak_throttled"].values["throttles"] == 3
    assert counted.quantities()["soak_throttles"].value == 3


def test_what_cannot_be_read_is_said():
    blind = shown()
    quantities = blind.quantities()
    assert quantities["soak_temperature_highest"].how == "not measured"
    assert quantities["soak_temperature_highest"].detail == "no sensor"
    assert quantities["soak_throttles"].detail == "not counted"
    assert codes(blind)["profile.soak_throttling_from_latency"].values["reasons"] == ("no sensor",)
    assert set(blind.curves()) == {"soak_latency", "soak_memory"}
    assert "soak_clock" in shown(clock=lambda _: 1000.0).curves()


def test_too_short_a_soak_tells_no_slope():
    short = Soak(windows(count=3), None, {}, "a bench")
    assert short.quantities()["soak_latency_drift"].how == "not measured"
    assert {"profile.soak_drift_unknown", "profile.soak_leak_unknown"} <= set(codes(short))


def test_outliers_are_a_share_with_its_interval():
    outliers = shown().quantities()["soak_outliers"]
    assert outliers.value == pytest.approx(0.01)
    assert outliers.low < 0.01 < outliers.high
    assert outliers.runs == 3000


def test_a_soak_lasts_as_long_as_told_and_counts_every_run(tmp_path):
    calls = []

    def action():
        calls.append(1)
        time.sleep(0.02 if len(calls) == 200 else 0.0005)

    found = soak(action, 0.6, vitals=MachineSensors(tmp_path), resident=lambda: 1000)
    assert 0.6 <= found.seconds < 5
    assert 1 < len(found.windows) <= 12
    assert found.runs < len(calls)  # the warm-up is not counted
    assert [window.second for window in found.windows] == sorted(window.second for window in found.windows)
    assert sum(window.outliers for window in found.windows) >= 1
    assert set(found.missing) == {"clock", "temperature", "throttles"}


def test_a_real_file_is_soaked(tiny):
    found = soak_file(tiny, 0.3)
    quantities = found.quantities()
    assert quantities["soak_latency_max_ms"].value >= found.windows[0].median_ms
    assert "ONNX Runtime" in quantities["soak_outliers"].detail
    for name in ("soak_latency_drift", "soak_memory_growth"):
        assert quantities[name].how == "measured"


def test_vitals_are_read_from_the_kernels_files(tmp_path):
    def write(name: str, text: object) -> None:
        path = tmp_path / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    cpu = "devices/system/cpu"
    write(f"{cpu}/cpu0/cpufreq/scaling_cur_freq", 800_000)
    write(f"{cpu}/cpu1/cpufreq/scaling_cur_freq", 2_400_000)
    write("class/thermal/thermal_zone0/temp", 51_500)
    write("class/thermal/thermal_zone1/temp", "asleep")
    for number in (0, 1):
        write(f"{cpu}/cpu{number}/thermal_throttle/core_throttle_count", 2)
    vitals = MachineSensors(tmp_path)
    assert vitals.clock_mhz() == pytest.approx(2400)
    assert vitals.temperature_c() == pytest.approx(51.5)
    assert vitals.throttles() == 4
    assert vitals.missing() == {}


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("90s", 90), ("1h", 3600), ("1h30m", 5400), ("90", 90), (" 1.5 M ", 90)]
)
def test_lengths_of_time_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "m", "10x", "5m3", "-5s", "ten minutes", "inf", "1e3s"])
def test_other_lengths_are_refused(text):
    with pytest.raises(DeviceError, match="like 90s, 10m, 1h"):
        parse_duration(text)


def test_a_soak_of_nothing_is_refused(tiny, tmp_path):
    with pytest.raises(DeviceError, match="more than 0 seconds"):
        soak_file(tiny, 0)
    with pytest.raises(CompressError, match="no such file"):
        soak_file(tmp_path / "nowhere.onnx", 1)


def test_a_real_leak_is_found():
    kept = []

    def leak():
        kept.append(b"\1" * 500_000)
        time.sleep(0.004)

    found = soak(leak, 0.8)
    assert found.quantities()["soak_memory_growth"].low > 0
    assert "profile.soak_leak" in codes(found)
