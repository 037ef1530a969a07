import numpy as np
import pytest
from torch import nn
from typer.testing import CliRunner

from compress.cli import app
from compress.cli.calibrate_cost_model import quantized
from compress.config.devices import host, load_device
from compress.core.errors import DeviceError
from compress.profile.cost_model import fit as fitting
from compress.profile.cost_model.calibration_file import Calibration, load
from compress.profile.cost_model.fit import (
    NetworkSample,
    calibrate,
    cross_validate,
    describe_calibration,
    fit,
    fit_coefficients,
    machine_load,
    measure_network,
)
from compress.profile.cost_model.operator_work import OperatorWork
from compress.profile.latency.interleave import Samples, Warmup
from compress.profile.latency.timing import Timing


def samples(noise=0.0, architectures=6):
    """Networks whose convolutions take 2000 ns + 0.01 ns an operation + 0.5 ns an element, and products 5000 ns."""
    draw = np.random.default_rng(0)
    result = []
    for number in range(3 * architectures):
        work = tuple(
            OperatorWork(f"n{place}", "Conv", "dense", "float", int(10 ** draw.uniform(5, 8)), int(10 ** draw.uniform(3, 6)))
            for place in range(10)
        ) + (OperatorWork("last", "Gemm", "dense", "float", 1000, 1000),) * int(draw.integers(1, 5))
        exact = sum(2000 + 0.01 * item.operations + 0.5 * item.elements if item.operator == "Conv" else 5000 for item in work)
        result.append(NetworkSample(f"a{number % architectures}", work, exact * float(np.exp(noise * draw.normal())) / 1e6))
    return result


def test_known_prices_are_recovered():
    rates = fit(samples())
    assert rates["dense float"].overhead_ns == pytest.approx(2000, rel=1e-3)
    assert rates["dense float"].operation_ns == pytest.approx(0.01, rel=1e-6)
    assert rates["dense float"].element_ns == pytest.approx(0.5, rel=1e-6)
    assert set(rates) == {"dense float", "product float"}


def test_prices_are_never_negative():
    draw = np.random.default_rng(1)
    assert (fit_coefficients(draw.uniform(0, 1e6, (50, 8)), draw.uniform(1e3, 1e6, 50)) >= 0).all()


def test_relative_errors_count_so_that_small_networks_are_fitted_too():
    table = np.column_stack([np.geomspace(1e6, 1e9, 40), np.ones(40)])
    exact = table @ [0.01, 5000]
    estimated = table @ fit_coefficients(table, exact * np.where(np.arange(40) % 2, 1.1, 0.9))
    assert np.abs(estimated / exact - 1).max() < 0.1


def test_the_error_is_that_of_architectures_left_out():
    exact, noisy = cross_validate(samples()), cross_validate(samples(noise=0.3))
    assert exact.mean < 1e-3
    assert noisy.mean > 0.05
    assert noisy.low < 1 < noisy.high
    assert noisy.networks == 6


def network(width):
    def build(_side):
        return nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(width, 1000),
        )  # fmt: skip

    return build


TINY = {f"width{width}": network(width) for width in (8, 16)}


def test_this_machine_is_calibrated_on_measured_networks():
    calibration = calibrate(host(), quantized, seconds=0.02, networks=TINY, sides=(16,))
    assert calibration.cpu == host().hardware.cpu
    assert {"dense float", "dense int8", "product float"} <= set(calibration.rates)
    assert any(rates.operation_ns + rates.element_ns + rates.overhead_ns > 0 for rates in calibration.rates.values())
    assert calibration.accuracy.networks == 2


def fake_timings(noise, share):
    """Timings of 10 ms in 40 rounds with so much noise from round to round."""
    draw = np.random.default_rng(0)

    def measure(files, _images, _plan, **_):
        milliseconds = 10 * np.exp(noise * draw.normal(size=40))
        samples = Samples(milliseconds, np.arange(40), Warmup(1, 0.0, steady=True))
        return {name: Timing(samples, {"runtime": "r"}, "here", processor_share=share) for name in files}

    return measure


@pytest.mark.parametrize(
    ("noise", "share", "signs"),
    [
        (0.01, 0.99, ()),
        (0.3, 0.99, ("repeated timings of one file differ by",)),
        (0.01, 0.5, ("got 50% of a processor",)),
        (0.3, 0.5, ("repeated timings of one file differ by", "got 50% of a processor")),
    ],
)
def test_a_calibration_on_a_loaded_machine_says_so(noise, share, signs, monkeypatch):
    monkeypatch.setattr(fitting.timing, "measure", fake_timings(noise, share))
    calibration = calibrate(host(), quantized, networks=TINY, sides=(16,))
    assert bool(calibration.load_warning) == bool(signs)
    text = describe_calibration(calibration)
    assert ("calibrate again" in text) == bool(signs)
    assert all(sign in text for sign in signs)


def test_the_load_is_that_of_most_files_and_one_outlier_does_not_count(monkeypatch):
    monkeypatch.setattr(fitting.timing, "measure", fake_timings(0.01, 0.99))
    quiet = measure_network("quiet", network(8)(16), 16, quantized, threads=1, seconds=0.1)
    loaded = [NetworkSample("loaded", quiet[0].work, 30.0, spread=2.0, processor_share=0.3)]
    load = machine_load([*quiet, *loaded])
    assert load.spread < 0.05
    assert load.processor_share == 0.99


def test_the_process_may_use_more_than_one_processor_with_several_threads():
    """Sequential parts leave processors unused, so that the share says nothing there."""
    fields = {"spread": 0.01, "processor_share": 0.7}
    one = calibration_of(threads=1, load=fields)
    assert one.load_warning
    assert not calibration_of(threads=2, load=fields).load_warning
    assert not calibration_of(threads=1, load=None).load_warning


def calibration_of(**fields):
    base = {
        "device": "host", "cpu": "A CPU", "instruction_sets": (), "runtime": "onnxruntime 1", "created": "", "seconds": 1.0,
        "rates": {}, "accuracy": {"mean": 0.1, "low": 0.9, "high": 1.1, "networks": 2},
    }  # fmt: skip
    return Calibration.model_validate(base | fields)


def test_a_device_that_cannot_be_calibrated_from_here_is_refused():
    with pytest.raises(DeviceError, match="is not this machine"):
        calibrate(load_device("mobile_cpu"), quantized)
    with pytest.raises(DeviceError, match="only ONNX Runtime"):
        calibrate(host().model_copy(update={"runtime": "tensorrt"}), quantized)


def test_the_command_writes_a_calibration_and_prints_its_error(tmp_path, monkeypatch):
    ready = iter(samples())
    monkeypatch.setattr(fitting, "measure_network", lambda *_, **__: [next(ready)])
    monkeypatch.setattr(fitting.calibrate, "__kwdefaults__", fitting.calibrate.__kwdefaults__ | {"networks": TINY})
    result = CliRunner().invoke(app, ["devices", "calibrate", "host", "--out", str(tmp_path / "own.json")])
    assert result.exit_code == 0, result.output
    assert "mean error" in result.output
    assert load(tmp_path / "own.json").device == "host"


def test_the_command_refuses_a_device_that_is_not_here():
    result = CliRunner().invoke(app, ["devices", "calibrate", "mobile_cpu"])
    assert isinstance(result.exception, DeviceError)
    assert "is not this machine" in str(result.exception)
