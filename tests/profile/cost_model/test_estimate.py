from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.config.devices import Device, host, load_device
from compress.config.devices.connection import Ssh
from compress.config.devices.profile_schema import Efficiency, Peaks, Precision, SourcedValue
from compress.core.errors import DeviceError
from compress.profile.cost_model import calibration_file as calibration
from compress.profile.cost_model import estimate as cost
from compress.profile.cost_model.calibration_file import Accuracy, Calibration, MachineLoad, Rates
from compress.profile.cost_model.operator_work import OperatorWork, operator_work


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path))


def figure(value, unit):
    return SourcedValue(value=value, unit=unit, source="made up for a test")


def device(*, kind="cpu", floats="fp32", fp32=100.0, fp16=200.0, int8=400.0, bandwidth=10.0, overhead=2.0, **fields):
    peaks = Peaks(
        fp32_gflops=figure(fp32, "GFLOP/s"),
        fp16_gflops=figure(fp16, "GFLOP/s") if fp16 else None,
        int8_gops=figure(int8, "GOP/s") if int8 else None,
        memory_bandwidth_gb_s=figure(bandwidth, "GB/s"),
        memory_bytes=figure(1e9, "bytes"),
    )
    efficiency = Efficiency(
        dense=figure(0.5, "fraction"),
        depthwise=figure(0.1, "fraction"),
        overhead_us=figure(overhead, "us"),
        error_factor=3.0,
    )
    precision = Precision(floats=floats, activations="int8", symmetric_activations=True, source="made up for a test")
    return Device(
        name="made_up", title="Made up", kind=kind, runtime="onnxruntime", peaks=peaks, efficiency=efficiency,
        precision=precision, **fields,
    )  # fmt: skip


def work(kind="dense", number="float", operations=10**9, elements=1000):
    return OperatorWork("node", "Conv", kind, number, operations, elements)


def milliseconds(item, target):
    return cost.roofline_estimate((item,), target).latency_ms


def test_bound_by_arithmetic_by_hand():
    assert milliseconds(work(), device()) == pytest.approx(1e9 / (100e9 * 0.5) * 1e3 + 0.002)


def test_bound_by_bandwidth_by_hand():
    item = work(operations=1000, elements=5_000_000)
    assert milliseconds(item, device()) == pytest.approx(5e6 * 4 / 10e9 * 1e3 + 0.002)


def test_each_number_has_its_rate_and_size():
    assert milliseconds(work(number="int8"), device(overhead=1e-9)) == pytest.approx(5.0)
    assert milliseconds(work(), device(kind="gpu", floats="fp16", overhead=1e-9)) == pytest.approx(10.0)
    thin = work(operations=1, elements=10**7)
    assert milliseconds(thin, device(floats="fp16", overhead=1e-9)) == pytest.approx(2.0)
    thin8 = work(number="int8", operations=1, elements=10**7)
    assert milliseconds(thin8, device(overhead=1e-9)) == pytest.approx(1.0)


def test_int8_without_a_peak_of_its_own_runs_at_the_float_rate():
    assert milliseconds(work(number="int8"), device(int8=None)) == milliseconds(work(), device())


def test_depthwise_is_priced_at_the_vector_rate_whatever_its_numbers():
    times = [
        milliseconds(work("depthwise", number), device(floats=floats))
        for number in ("float", "int8")
        for floats in ("fp32", "fp16")
    ]
    assert times == pytest.approx([1e9 / (100e9 * 0.1) * 1e3 + 0.002] * 4)


def test_threads_divide_arithmetic_on_a_cpu_only():
    assert milliseconds(work(), device(threads=4, overhead=1e-9)) == pytest.approx(5.0)
    assert milliseconds(work(), device(kind="gpu", threads=4, overhead=1e-9)) == pytest.approx(20.0)


def test_overhead_is_paid_by_every_operator():
    found = cost.roofline_estimate((work(operations=0, elements=0),) * 7, device(overhead=3.0))
    assert found.latency_ms == pytest.approx(0.021)
    assert found.bound_by["overhead"] == pytest.approx(0.021)


positive = st.floats(1.0, 1e4)


@given(positive, positive, st.integers(0, 10**10), st.integers(0, 10**8), st.sampled_from(["dense", "depthwise", "other"]))
def test_more_peak_never_costs_time_and_more_work_never_saves_any(peak, bandwidth, operations, elements, kind):
    item, target = work(kind, "float", operations, elements), device(fp32=peak, bandwidth=bandwidth)
    base = milliseconds(item, target)
    assert milliseconds(item, device(fp32=2 * peak, bandwidth=bandwidth)) <= base
    assert milliseconds(item, device(fp32=peak, bandwidth=2 * bandwidth)) <= base
    assert milliseconds(work(kind, "float", 2 * operations, elements), target) >= base
    assert milliseconds(work(kind, "float", operations, 2 * elements), target) >= base


def test_the_parts_add_up(tiny):
    found = cost.estimate(tiny, device())
    assert sum(found.bound_by.values()) == pytest.approx(found.latency_ms)
    assert sum(time for _, time in found.operators) == pytest.approx(found.latency_ms)


@pytest.mark.parametrize("name", ["mobile_cpu", "jetson_orin_nano", "desktop_gpu"])
def test_an_estimate_says_what_it_is_and_how_wrong_it_may_be(name, tiny):
    target = load_device(name)
    found = cost.latency(tiny, target)
    factor = target.efficiency.error_factor
    assert found.how == "estimated"
    assert found.low == pytest.approx(found.value / factor)
    assert found.high == pytest.approx(found.value * factor)
    assert target.title in found.detail
    assert target.precision.floats in found.detail
    assert "uncalibrated" in found.detail
    assert "error on this device unknown" in found.detail


def test_a_profile_without_efficiencies_cannot_estimate(tiny):
    board = host().model_copy(update={"connection": Ssh(ssh="board"), "hardware": None})
    with pytest.raises(DeviceError, match="'host' has no efficiency"):
        cost.estimate(tiny, board)


RATES = {
    "dense float": Rates(overhead_ns=2000.0, operation_ns=0.5, element_ns=1.0),
    "product float": Rates(overhead_ns=1000.0, operation_ns=0.25, element_ns=0.0),
    "other float": Rates(overhead_ns=500.0, operation_ns=0.0, element_ns=2.0),
}


def keep(**changed):
    machine = host().hardware
    fields = {
        "device": "host", "cpu": machine.cpu, "instruction_sets": machine.instruction_sets,
        "runtime": calibration.runtime(), "threads": 1, "created": "2026-01-02 03:04 UTC", "seconds": 9.0, "rates": RATES,
        "accuracy": Accuracy(mean=0.071, low=0.9, high=1.2, networks=10),
    }  # fmt: skip
    calibration.save(Calibration(**fields | changed), calibration.default_path("host"))


def test_a_calibrated_estimate_by_hand(tiny):
    keep()
    found = cost.estimate(tiny, host())
    by_hand = 0.0
    for item in operator_work(tiny):
        rates = RATES[cost.operator_class(item)]
        by_hand += rates.overhead_ns + rates.operation_ns * item.operations + rates.element_ns * item.elements
    assert {cost.operator_class(item) for item in operator_work(tiny)} <= set(RATES)
    assert found.latency_ms == pytest.approx(by_hand / 1e6)
    assert sum(found.bound_by.values()) == pytest.approx(found.latency_ms)
    assert len(found.operators) == len(operator_work(tiny))


def test_a_calibrated_estimate_says_its_error(tiny):
    keep()
    found = cost.latency(tiny, host())
    assert found.how == "estimated"
    assert (found.low, found.high) == pytest.approx((0.9 * found.value, 1.2 * found.value))
    assert "calibrated 2026-01-02 03:04 UTC" in found.detail
    assert "mean error 7.1% in cross-validation over 10 architectures" in found.detail
    assert host().hardware.cpu in found.detail


def test_an_estimate_says_that_the_calibration_was_made_under_load(tiny):
    keep(load=MachineLoad(spread=0.4, processor_share=0.5))
    assert "the machine was not idle: repeated timings of one file differ by 40%" in cost.latency(tiny, host()).detail
    keep(load=MachineLoad(spread=0.02, processor_share=0.99))
    assert "idle" not in cost.latency(tiny, host()).detail


def test_a_calibration_without_prices_for_a_class_is_refused(tiny):
    keep(rates={"other int8": RATES["other float"]})
    with pytest.raises(DeviceError, match="has no coefficients for"):
        cost.estimate(tiny, host())


def never_measure(monkeypatch):
    """Stand in for the peaks of this machine, which take seconds to measure."""
    made = device()
    changes = {"peaks": made.peaks, "efficiency": made.efficiency}
    monkeypatch.setattr(cost, "with_measured_peaks", lambda given, **_: given.model_copy(update=changes))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cpu": "Another 9000"}, "is not valid: it was made with CPU Another 9000"),
        ({"runtime": "onnxruntime 1.0.0"}, "is not valid: it was made with runtime onnxruntime 1.0.0"),
    ],
)
def test_a_calibration_of_something_else_is_refused_and_the_roofline_says_so(changed, said, tiny, monkeypatch):
    never_measure(monkeypatch)
    keep(**changed)
    found = cost.latency(tiny, host())
    assert "uncalibrated roofline" in found.detail
    assert said in found.detail


def test_this_machine_uncalibrated_is_estimated_from_measured_peaks(tiny, monkeypatch):
    never_measure(monkeypatch)
    found = cost.latency(tiny, host())
    assert "not calibrated: `compress devices calibrate host`" in found.detail
    assert found.value == pytest.approx(cost.roofline_estimate(operator_work(tiny), device()).latency_ms)


def test_other_threads_want_a_calibration_of_their_own(tiny, monkeypatch):
    never_measure(monkeypatch)
    keep()
    assert "uncalibrated" in cost.latency(tiny, host().model_copy(update={"threads": 2})).detail


def test_matrix_products_have_the_band_that_was_measured_on_encoders():
    convolution, product = work(), replace(work(), operator="MatMul")
    target = device()
    target = target.model_copy(update={"efficiency": target.efficiency.model_copy(update={"error_factor": 2.0})})
    encoder, network = (cost.roofline_estimate(items, target) for items in ((product,), (product, convolution)))
    assert encoder.band == pytest.approx((encoder.latency_ms / 3, encoder.latency_ms * 3))
    assert "text encoders on an AMD EPYC took 1.2 to 2.8 times the estimate" in encoder.model
    assert network.band == pytest.approx((network.latency_ms / 2, network.latency_ms * 2))
    assert "encoders" not in network.model
