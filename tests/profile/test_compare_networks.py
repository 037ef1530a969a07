import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from compress.config.devices import host, load_device
from compress.core.network_spec import image_spec
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.profile import compare_networks
from compress.profile.compare_networks import (
    BASELINE,
    Comparison,
    NetworkTimer,
    estimated_file_ms,
    estimated_ms,
    exported,
    is_calibrated,
    measure_interleaved,
    median_ms,
    module_latency_ms,
)
from compress.profile.cost_model import estimate as cost
from compress.profile.latency.interleave import Samples, TimingPlan, Warmup
from compress.profile.latency.timing import Timing
from compress.profile.layers.kernel_to_node import NodeOrigin
from compress.profile.layers.layer_times import LayerTimes, TimedKernel
from tests.profile import onnx_models

SPEC = image_spec(channels=3, height=8, width=8, mean=(0, 0, 0), std=(1, 1, 1), classes=tuple("abcde"))
PHONE = load_device("mobile_cpu")


def network(width: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 36, 5)).eval()


def timing(milliseconds) -> Timing:
    series = np.asarray(milliseconds, float)
    return Timing(Samples(series, np.arange(len(series)), Warmup(1, 0.0, steady=True)), {"runtime": "r"}, "here")


@pytest.fixture
def quick_export(monkeypatch):
    """An exporter without torch's tracing: a file as wide as the network."""

    def export(module, _spec, path):
        onnx.save(onnx_models.network(channels=module[0].out_channels), path)

    monkeypatch.setattr(compare_networks, "export_onnx", export)


@pytest.fixture
def timed(monkeypatch, quick_export):
    """Calls of the interleaved measurement, which takes as many milliseconds as the file has kilobytes."""
    calls = []

    def measure(files, signature, *, seconds):
        calls.append((list(files), signature, seconds, {name: path.read_bytes() for name, path in files.items()}))
        return {name: timing(np.full(20, path.stat().st_size / 1000)) for name, path in files.items()}

    monkeypatch.setattr(compare_networks, "measure_interleaved", measure)
    return calls


def test_speed_up_and_ratio_agree():
    draw = np.random.default_rng(0)
    load = np.linspace(1, 3, 30)  # both networks slow down
    comparison = Comparison(timing(4 * load * draw.normal(1, 0.01, 30)), timing(2 * load), ())
    assert comparison.ratio == pytest.approx(0.5, rel=0.02)
    assert comparison.speedup.value == pytest.approx(2.0, rel=0.02)
    assert comparison.speedup.low <= comparison.speedup.value <= comparison.speedup.high
    assert median_ms(comparison.after) == np.median(2 * load)


def test_networks_are_timed_beside_the_baseline_which_is_exported_once(timed, monkeypatch):
    timer = NetworkTimer(network(4), SPEC, seconds=0.5)
    assert timer.macs == 36 * 4 * 27 + 4 * 36 * 5  # 3×3 convolution of 3 channels at 6×6 places, then the product
    baseline = timer.exported
    monkeypatch.setattr(compare_networks, "count_network", None)
    timings, work = timer.time({"wide": network(8)})
    timer.compare(network(2), seconds=0.1)
    (first, second) = timed
    assert (first[0], second[0]) == ([BASELINE, "wide"], [BASELINE, "after"])
    assert first[3][BASELINE] == second[3][BASELINE] == baseline
    assert (first[1], first[2], second[2]) == (SPEC.signature, 0.5, 0.1)
    assert set(timings) == set(work) == {BASELINE, "wide"}
    operations = {name: sum(item.operations for item in items if item.kind != "other") for name, items in work.items()}
    assert operations["wide"] == 2 * operations[BASELINE]


def test_a_comparison_holds_the_work_of_the_second_network(timed):
    comparison = NetworkTimer(network(4), SPEC, seconds=0.5).compare(network(2))
    assert comparison.ratio == pytest.approx(len(timed[0][3]["after"]) / len(timed[0][3][BASELINE]))
    assert [item.operator for item in comparison.work] == ["Conv", "GlobalAveragePool", "Gemm"]


def test_a_time_too_short_to_measure_is_lengthened(timed):
    NetworkTimer(network(2), SPEC, seconds=0.0).compare(network(2))
    assert timed[0][2] == compare_networks._SHORTEST_S


def test_files_are_fed_zeros_of_one_sample(monkeypatch, tiny):
    calls = {}
    monkeypatch.setattr(compare_networks.timing, "measure", lambda _, inputs, plan: calls.update(inputs=inputs, plan=plan))
    ids = TensorSpec(name="ids", dtype="int64", shape=("batch", "length"), values=(3, 9))
    signature = Signature(inputs=(*SPEC.signature.inputs, ids), sizes={"length": AxisSizes(1, 4, 8)})
    measure_interleaved({"a": tiny}, signature, seconds=0.5)
    assert calls["inputs"]["input"].shape == (1, 3, 8, 8)
    assert not calls["inputs"]["input"].any()
    assert calls["inputs"]["ids"].tolist() == [[3, 3, 3, 3]]
    assert calls["inputs"]["ids"].dtype == np.int64
    assert calls["plan"] == TimingPlan(0.5, 0.1, 10)


def test_exported_files_compute_the_networks_and_vanish_and_estimates_by_module_add_up():
    networks = {"wide": network(4)}
    inputs = torch.randn(1, 3, 8, 8)
    with exported(networks, SPEC) as files:
        assert list(files) == list(networks)
        for name, path in files.items():
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            (output,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
            assert output == pytest.approx(networks[name](inputs).detach().numpy(), abs=1e-5)
        modules = module_latency_ms(files["wide"], PHONE, seconds=0.1)
        assert set(modules) == {"0", "3"}
        assert sum(modules.values()) == pytest.approx(estimated_file_ms(files["wide"], PHONE))
    assert not any(path.exists() for path in files.values())


@pytest.mark.usefixtures("quick_export")
def test_estimates_are_those_of_the_cost_model_on_the_exported_file():
    with exported({"a": network(8)}, SPEC) as files:
        latency = cost.estimate(files["a"], PHONE).latency_ms
        assert estimated_file_ms(files["a"], PHONE) == latency
    assert estimated_ms(network(8), SPEC, PHONE) == pytest.approx(latency)
    assert NetworkTimer(network(8), SPEC, seconds=0.1).estimated_baseline_ms(PHONE) == pytest.approx(latency)
    assert estimated_ms(network(64), SPEC, PHONE) > latency


def test_measured_times_of_a_module_are_summed_over_its_kernels(monkeypatch, tiny):
    def kernel(module: str, milliseconds: float) -> TimedKernel:
        return TimedKernel("Conv", "float", (NodeOrigin(module, "Conv", module),), np.full(8, milliseconds))

    kernels = (kernel("a", 1.0), kernel("b", 5.0), kernel("a", 2.0))
    times = LayerTimes(kernels, np.ones(8), np.ones(8), {})
    monkeypatch.setattr(compare_networks.layer_times, "measure", lambda files, *_, **__: dict.fromkeys(files, times))
    assert module_latency_ms(tiny, host(), seconds=0.1) == pytest.approx({"a": 3.0, "b": 5.0})


def test_a_device_out_of_reach_is_never_calibrated(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path))
    assert not is_calibrated(PHONE)
    assert not is_calibrated(host())
    monkeypatch.setattr(compare_networks.cost, "find_calibration", lambda _: (object(), ""))
    assert is_calibrated(host())
