import pytest

from compress.core.fact import Fact
from compress.core.sentences import render, render_subject


def fact(code: str, subject: str, **values) -> Fact:
    return Fact.of(f"profile.{code}", subject, **values)


LAYERS = {"summed_ms": 1.1, "plain_ms": 1.0, "profiled_ms": 1.25, "layers": 9}
DRIFT = {"drift": 0.1, "low": 0.05, "high": 0.2, "seconds": 60.0}
CLOCKS = {"system": "Linux 6", "architecture": "aarch64", "processors": 4, "python": "3.11", "power_mode": None}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            fact("measured_on", "A CPU", profile="", settings=("runtime r 1", "threads 1"), batch=2),
            "measured on A CPU: runtime r 1, threads 1; batch 2; fixed inputs; files timed in turns",
        ),
        (fact("arrival", "pi", arrival="periodic", arrivals_per_s=30.0), "for inputs that arrive 30 times per second"),
        (fact("arrival", "pi", arrival="cold", arrivals_per_s=30.0), "arrive with other data in the caches"),
        (fact("contract_few_runs", "pi", min_runs=30, files=("a", "b"), runs=(3, 4)), "fewer than 30 runs: a (3), b (4)"),
        (fact("contract_not_idle", "pi", processor_share=0.5), "the measurement had 50% of a processor"),
        (fact("clocks_unreadable", "pi", virtual=True), "a virtual machine; clocks"),
        (fact("clocks_not_locked", "pi", virtual=False, governor="ondemand"), "frequency governor 'ondemand'"),
        (fact("idle_states", "pi", states=("POLL 0 µs", "C6 133 µs")), "POLL 0 µs, C6 133 µs"),
        (fact("layers_total", "a", **LAYERS, overhead_us=0.0), "a: layers sum to 1.100 ms, 110% of the 1.000 ms"),
        (fact("layers_total", "a", **LAYERS, overhead_us=3.2), "3.2 µs of profiler overhead were subtracted"),
        (fact("remote_clocks", "pi", **CLOCKS, before=(), after=()), "power mode cannot be read on pi (Linux 6, aarch64"),
        (
            fact("remote_clocks", "pi", **{**CLOCKS, "power_mode": "MAXN"}, before=("governor a",), after=("governor b",)),
            "before governor a; after governor b (Linux 6, aarch64, 4 processors, Python 3.11); the contract requires MAXN",
        ),
        (
            fact("runtime_chosen", "fast", file="", first=False, runtimes=("own", "fast"), latency_ms=(2.0, 1.0)),
            "measured in fast, the fastest with equal outputs: own 2 ms, fast 1 ms",
        ),
        (
            fact("runtime_chosen", "own", file="m.onnx", first=True, runtimes=("own",), latency_ms=(2.0,), device="pi"),
            "pi: measured in own on m.onnx, no runtime with equal outputs is significantly faster: own 2 ms",
        ),
        (fact("soak_drifts_upwards", "", **DRIFT), "soak: the latency drifts upwards, +10.0% (+5.0% to +20.0%) over 60 s"),
        (fact("soak_drifts_upwards", "m.onnx", **DRIFT), "m.onnx: soak: the latency drifts upwards"),
        (fact("soak_throttled", "", throttles=3, first_mhz=None, lowest_mhz=None), "3 times by the counters"),
        (fact("soak_throttled", "", throttles=0, first_mhz=2400.0, lowest_mhz=1200.0), "from 2400 to 1200 MHz"),
        (fact("soak_throttling_from_latency", "", reasons=("no clock", "no zone")), "by the latency: no clock; no zone"),
        (
            fact("not_faster", "teacher", artifact_ms=2.0, latency_ms=1.0, speedup=0.5, low=0.4, high=0.6),
            "the profiled network takes 2.000 ms and the teacher 1.000 ms on this machine, a speed-up of 0.50 (0.40 to 0.60)",
        ),
    ],
)  # fmt: skip
def test_a_fact_says_its_values(said, expected):
    assert expected in render(said)


def test_overhead_that_was_not_subtracted_is_not_reported():
    assert "subtracted" not in render(fact("layers_total", "a", **LAYERS, overhead_us=0.0))


@pytest.mark.parametrize(
    ("values", "same"),
    [({"top1": None, "samples": 8}, ""), ({"top1": 0.5, "samples": 8}, ", the same class for 50.0% of 8 samples")],
)
def test_outputs_without_classes_are_compared_by_their_difference_alone(values, same):
    bounds = {"difference": 0.123, "largest_difference": 0.1, "least_agreement": 0.98}
    assert render(fact("runtime_disagrees", "fast", **bounds, **values)) == (
        f"runtime fast was not chosen: outputs differ by up to 0.12 of the largest{same}; "
        "required are at most 0.1 and at least 98%"
    )


@pytest.mark.parametrize(
    ("skipped", "subject"),
    [
        (fact("runtime_failed", "openvino", error="gone"), "runtime openvino"),
        (fact("runtime_failed", "openvino", error="gone", device="pi"), "runtime openvino for pi"),
        (fact("sweep_failed", "a.onnx", batch=8, error="too large"), "sweep at batch 8"),
        (fact("sweep_not_local", "pi"), "sweep on pi"),
        (fact("estimate_failed", "pi", error="no peak"), "estimate for pi"),
        (fact("layers_failed", "artifact", error="no"), "time by layer"),
    ],
)
def test_what_was_skipped_is_named(skipped, subject):
    assert render_subject(skipped) == subject
    assert render(skipped)
