import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from compress.cli import app
from compress.cli.calibrate_cost_model import calibrate_device, quantized
from compress.config.devices import host, load_device
from compress.core.errors import DeviceError
from compress.profile.cost_model import fit as fitting
from compress.profile.cost_model.calibration_file import Rates, load
from compress.profile.cost_model.fit import (
    COUNTS,
    FEWEST,
    NetworkSample,
    calibrate,
    cross_validate,
    describe_calibration,
    fit,
    nnls_fit,
    time_network,
)
from compress.profile.cost_model.kernel_counts import CountedKernel
from compress.profile.cost_model.random_networks import FAMILIES, random_network

CACHES = 1 << 20, 1 << 25


def samples(noise=0.0, networks=20):
    """Networks whose kernels take 2000 ns + 0.01 ns a multiply-accumulate + 0.5 ns an output, and no more."""
    draw = np.random.default_rng(0)
    found = []
    for number in range(networks):
        kernels = tuple(
            CountedKernel(
                f"k{place}", "conv fp32 dense", {"macs": 10 ** draw.uniform(5, 8), "outputs": 10 ** draw.uniform(3, 6)}
            )
            for place in range(10)
        )
        exact = np.array([2000 + 0.01 * kernel.counts["macs"] + 0.5 * kernel.counts["outputs"] for kernel in kernels])
        seen = exact * np.exp(noise * draw.normal(size=10))
        found.append(NetworkSample(number, kernels, seen, float(seen.sum())))
    return found


def test_prices_are_found_again():
    rates = fit(samples())["conv fp32 dense"]
    assert rates.overhead_ns == pytest.approx(2000, rel=1e-6)
    assert rates.prices_ns["macs"] == pytest.approx(0.01, rel=1e-6)
    assert rates.prices_ns["outputs"] == pytest.approx(0.5, rel=1e-6)
    assert rates.samples == 200


def test_prices_are_never_negative():
    draw = np.random.default_rng(1)
    counts = draw.uniform(0, 1e6, (50, len(COUNTS)))
    found = nnls_fit(counts, draw.uniform(1e3, 1e6, 50))
    assert found.overhead_ns >= 0
    assert all(price > 0 for price in found.prices_ns.values())


def test_relative_errors_count_so_that_small_kernels_are_fitted_too():
    counts = np.zeros((40, len(COUNTS)))
    counts[:, 0] = np.geomspace(1e6, 1e9, 40)
    exact = 0.01 * counts[:, 0] + 5000
    seen = exact * np.where(np.arange(40) % 2, 1.1, 0.9)
    found = nnls_fit(counts, seen)
    estimated = found.overhead_ns + found.prices_ns["macs"] * counts[:, 0]
    assert np.abs(estimated / exact - 1).max() < 0.1


def test_the_error_left_out_is_that_of_networks_not_seen():
    exact, noisy = cross_validate(samples()), cross_validate(samples(noise=0.3))
    assert exact.mean < 1e-6
    assert noisy.mean > 0.01
    assert noisy.low < 1 < noisy.high
    assert noisy.networks == 20


def test_rare_kernels_have_no_rates_of_their_own_but_count_in_their_pool():
    found = fit(samples(networks=1))
    assert len(samples(networks=1)[0].kernels) < FEWEST
    assert not found
    few = [*samples(), NetworkSample(99, (CountedKernel("k", "conv fp32 stem", {"macs": 1e6}),), np.array([1e5]), 1e5)]
    assert set(fit(few)) == {"conv fp32 dense", "product fp32"}
    assert fit(few)["product fp32"].samples == 201


def test_specimens_depend_on_their_seed_alone():
    assert random_network(5).SerializeToString() == random_network(5).SerializeToString()
    assert random_network(5).SerializeToString() != random_network(5 + len(FAMILIES)).SerializeToString()


def test_specimens_are_valid():
    for seed in range(2 * len(FAMILIES)):
        onnx.checker.check_model(random_network(seed), full_check=True)


@pytest.mark.parametrize("number", ["fp32", "int8"])
def test_a_network_is_timed_kernel_by_kernel(number, tmp_path):
    built = random_network(3) if number == "fp32" else quantized(random_network(3))
    found = time_network(3, built, tmp_path, CACHES, threads=1)
    assert len(found.kernels) == len(found.nanoseconds)
    assert (found.nanoseconds > 0).all()
    assert found.nanoseconds.sum() == pytest.approx(found.total_ns, rel=0.2)
    assert any(kernel.kind.startswith(f"conv {number}") for kernel in found.kernels)


def test_a_calibration_is_made_and_kept(tmp_path, monkeypatch):
    timings = iter([*samples(networks=20), *[None] * 99])
    monkeypatch.setattr(fitting, "time_network", lambda *_, **__: next(timings))
    monkeypatch.setattr(fitting, "MOST", 10)
    monkeypatch.setattr("compress.cli.calibrate_cost_model.quantized", lambda built: built)
    found, path = calibrate_device("host", tmp_path / "host.json")
    assert load(path) == found
    assert found.cpu == host().hardware.cpu
    assert found.rates["conv fp32 dense"].prices_ns["macs"] == pytest.approx(0.01, rel=1e-6)
    assert "20 random networks left out" in describe_calibration(found)
    assert isinstance(found.rates["product fp32"], Rates)


def test_too_little_time_is_told():
    with pytest.raises(DeviceError, match="10 at least are needed"):
        calibrate(host(), quantized, seconds=0)


def test_a_device_that_cannot_be_calibrated_from_here_is_told():
    with pytest.raises(DeviceError, match="is not this machine"):
        calibrate(load_device("mobile_cpu"), quantized)
    with pytest.raises(DeviceError, match="only ONNX Runtime"):
        calibrate(host().model_copy(update={"runtime": "tensorrt"}), quantized)


def test_the_verb_writes_a_calibration_and_says_how_good_it_is(tmp_path, monkeypatch):
    timings = iter([*samples(networks=20), *[None] * 99])
    monkeypatch.setattr(fitting, "time_network", lambda *_, **__: next(timings))
    monkeypatch.setattr(fitting, "MOST", 10)
    found = CliRunner().invoke(app, ["devices", "calibrate", "host", "--out", str(tmp_path / "own.json")])
    assert found.exit_code == 0, found.output
    assert "mean error" in found.output
    assert load(tmp_path / "own.json").device == "host"


def test_the_verb_refuses_a_device_that_is_not_here():
    found = CliRunner().invoke(app, ["devices", "calibrate", "mobile_cpu"])
    assert isinstance(found.exception, DeviceError)
    assert "is not this machine" in str(found.exception)
