import pytest

from compress.core.fact import Fact
from compress.core.sentences import render
from compress.profile.latency.soak_report import Soak, SoakWindow


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
    assert render(drift) == "small.onnx: soak: no significant drift of the latency, +0.0% (+0.0% to +0.0%) over 300 s"
    assert render(throttling) == "small.onnx: soak: throttling can only be detected by the latency: no sensor"
    assert render(leak) == "small.onnx: soak: no memory leak: resident memory changed by +0.00 MB over 300 s"


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
    assert "the clock fell from 2000 to 1420 MHz" in render(throttled)
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
