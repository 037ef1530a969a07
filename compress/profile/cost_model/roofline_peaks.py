"""Peak rates of this machine by micro-benchmarks of ONNX Runtime.

    3×3 convolutions, 64 channels, 32×32       → fp32 rate of dense kernels
    the same, quantized                        → int8 rate
    3×3 depthwise convolutions, 128 channels   → depthwise rate
    a chain of 100 operators on four numbers   → overhead of one operator
    copying an array larger than any cache     → bandwidth

The rates are achieved, not theoretical, so the efficiencies of dense kernels and bandwidth are 1.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.config.devices import Device
from compress.config.devices.profile_schema import Efficiency, Peaks, SourcedValue
from compress.profile.latency.interleave import Action, TimingPlan, interleave

OPSET, IR = 17, 8
DEPTH = 2
CHAIN = 100
BEST = 0.05
"""Quantile of the times that gives the peak: low, because other processes only lengthen a run."""
COPIED_BYTES = 256 << 20
ERROR_FACTOR = 2.0
"""Error band of the estimate; wide, because it was not compared with measured networks."""


def with_measured_peaks(device: Device, *, threads: int = 1, seconds: float = 0.3) -> Device:
    """The profile of this machine with measured peaks and efficiencies.

    Each call takes seconds. Use one result for all networks whose estimates are compared.

    Args:
        device: Profile of this machine.
        threads: Threads of the micro-benchmarks; the rates are per thread.
        seconds: Duration of each micro-benchmark.
    """
    rates = _rates(threads, seconds)
    source = f"measured: micro-benchmarks of ONNX Runtime on {device.title}, {threads} thread(s)"

    def figure(value: float, unit: str) -> SourcedValue:
        return SourcedValue(value=value, unit=unit, source=source)

    peaks = Peaks(
        fp32_gflops=figure(rates["dense"] / threads, "GFLOP/s"),
        int8_gops=figure(rates["int8"] / threads, "GOP/s"),
        memory_bandwidth_gb_s=figure(rates["bandwidth"], "GB/s"),
        memory_bytes=device.peaks.memory_bytes,
    )
    efficiency = Efficiency(
        dense=figure(1.0, "fraction"),
        depthwise=figure(min(1.0, rates["depthwise"] / rates["dense"]), "fraction"),
        bandwidth=figure(1.0, "fraction"),
        overhead_us=figure(rates["overhead_us"], "us"),
        error_factor=ERROR_FACTOR,
    )
    return device.model_copy(update={"peaks": peaks, "efficiency": efficiency, "threads": threads})


def _rates(threads: int, seconds: float) -> dict[str, float]:
    """Rates: `dense` and `depthwise` in GFLOP/s, `int8` in GOP/s, `bandwidth` in GB/s, `overhead_us`."""
    models = {
        "dense": _convolutions(64, 32, 1),
        "int8": _convolutions(64, 32, 1, quantized=True),
        "depthwise": _convolutions(128, 16, 128),
        "chain": _chain(CHAIN),
        "short": _chain(1),
    }
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        actions: dict[str, Action] = {}
        for name, model in models.items():
            path = Path(folder) / f"{name}.onnx"
            onnx.save(model, path)
            runner = stack.enter_context(OnnxRuntimeRunner(path, threads=threads))
            actions[name] = partial(runner.run, runner.sample())
        data = np.ones(COPIED_BYTES, np.uint8)
        copy = np.empty_like(data)
        actions["copy"] = lambda: np.copyto(copy, data)
        samples_by_action = interleave(actions, TimingPlan.of(seconds))
    best = {name: float(np.quantile(samples.milliseconds, BEST)) for name, samples in samples_by_action.items()}
    giga_per_ms = 1e-6
    operations = 2 * DEPTH * 9 * giga_per_ms
    return {
        "dense": operations * 64 * 64 * 32 * 32 / best["dense"],
        "int8": operations * 64 * 64 * 32 * 32 / best["int8"],
        "depthwise": operations * 128 * 16 * 16 / best["depthwise"],
        "bandwidth": 2 * COPIED_BYTES * giga_per_ms / best["copy"],
        "overhead_us": max((best["chain"] - best["short"]) / (CHAIN - 1) * 1e3, 0.01),
    }


def _convolutions(channels: int, size: int, group: int, *, quantized: bool = False) -> onnx.ModelProto:
    """A chain of `DEPTH` 3×3 convolutions with random weights, float or with QuantizeLinear and DequantizeLinear."""
    nodes, weights, last = [], [], "x"
    random = np.random.default_rng(0)
    for layer in range(DEPTH):
        shape = (channels, channels // group, 3, 3)
        source, weight = last, f"w{layer}"
        if quantized:
            source, weight = f"{last}_dq", f"w{layer}_dq"
            weights.append(numpy_helper.from_array(random.integers(-127, 128, shape, np.int8), f"w{layer}"))
            nodes += [
                helper.make_node("QuantizeLinear", [last, "scale", "zero"], [f"{last}_q"]),
                helper.make_node("DequantizeLinear", [f"{last}_q", "scale", "zero"], [source]),
                helper.make_node("DequantizeLinear", [f"w{layer}", "scale"], [weight]),
            ]
        else:
            weights.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), weight))
        nodes.append(helper.make_node("Conv", [source, weight], [f"y{layer}"], pads=[1, 1, 1, 1], group=group))
        last = f"y{layer}"
    if quantized:
        weights += [numpy_helper.from_array(np.float32(0.02), "scale"), numpy_helper.from_array(np.uint8(128), "zero")]
        nodes += [
            helper.make_node("QuantizeLinear", [last, "scale", "zero"], ["end_q"]),
            helper.make_node("DequantizeLinear", ["end_q", "scale", "zero"], ["end"]),
        ]
        last = "end"
    return _model(nodes, weights, last, [1, channels, size, size])


def _chain(length: int) -> onnx.ModelProto:
    """A chain of operators on four numbers, whose time is all overhead."""
    names = ["x", *(f"y{index}" for index in range(length))]
    kinds = ("Sigmoid", "Tanh")
    nodes = [helper.make_node(kinds[index % 2], [names[index]], [names[index + 1]]) for index in range(length)]
    return _model(nodes, [], names[-1], [1, 4])


def _model(
    nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], last: str, shape: list[int]
) -> onnx.ModelProto:  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "micro-benchmark",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
