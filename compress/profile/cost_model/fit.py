"""Fit the cost model of this machine to measured latencies of torchvision networks.

    latency of a network = Σ over operators of  overhead + price_operations × operations + price_elements × elements

Each class of operator (see `estimate.operator_class`) has its own non-negative prices, by least squares of the relative errors
(Lawson & Hanson 1974, "Solving Least Squares Problems", chapter 23). The error is that of architectures left out in turn.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
import torchvision
from scipy.optimize import nnls
from torch import nn

from compress.backends import onnx_files
from compress.backends.export_onnx import export_onnx
from compress.backends.runner_protocol import pinned
from compress.config.devices import Device
from compress.core.errors import DeviceError
from compress.core.network_spec import INPUT, image_spec
from compress.core.progress import NullReporter, Reporter
from compress.profile.cost_model.calibration_file import (
    Accuracy,
    Calibration,
    MachineLoad,
    Rates,
    this_processor,
)
from compress.profile.cost_model.estimate import MILLI_PER_NANO, operator_class
from compress.profile.cost_model.operator_work import OperatorWork, operator_work
from compress.profile.latency import timing
from compress.profile.latency.interleave import TimingPlan

Quantize = Callable[[onnx.ModelProto], onnx.ModelProto]
Vector = npt.NDArray[np.float64]
FEATURES = ("count", "operations", "elements")
REWEIGHTINGS = 5
"""Errors are relative to the expected latency: relative to the measured one, low outliers would count most."""


def _of_torchvision(name: str) -> Callable[[int], nn.Module]:
    return lambda _side: torchvision.models.get_model(name, weights=None)


NETWORKS: Mapping[str, Callable[[int], nn.Module]] = {
    **{
        name: _of_torchvision(name)
        for name in (
            "resnet18", "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x1_0", "mnasnet0_5",
            "efficientnet_b0", "regnet_x_400mf", "regnet_y_400mf",
        )
    },
    "vision_transformer": partial(
        torchvision.models.VisionTransformer, patch_size=16, num_layers=4, num_heads=3, hidden_dim=192, mlp_dim=768
    ),
}  # fmt: skip
"""Architectures by name: a function of the side of the image in pixels."""
SIDES = 64, 128, 224


@dataclass(frozen=True)
class NetworkSample:
    """One measured file.

    Attributes:
        architecture: Files of one architecture are left out together.
        work: Its operators.
        latency_ms: Median latency at batch 1.
        spread: Of repeated timings; see `Samples.spread`.
        processor_share: Processor time ÷ wall time of its timing session.
    """

    architecture: str
    work: tuple[OperatorWork, ...]
    latency_ms: float
    spread: float = 0.0
    processor_share: float = 1.0


def calibrate(
    device: Device,
    quantize: Quantize,
    *,
    threads: int = 1,
    seconds: float = 0.5,
    networks: Mapping[str, Callable[[int], nn.Module]] = NETWORKS,
    sides: Sequence[int] = SIDES,
    reporter: Reporter | None = None,
) -> Calibration:
    """Measure networks in fp32 and int8, and fit the prices of their operators.

    Args:
        device: A profile of this machine.
        quantize: int8 version of a float network, as `quantize` produces it.
        threads: Within an operator.
        seconds: Counted time of each file.
        networks: Architectures; three at least.
        sides: Sides of the images, pixels.
        reporter: Shows a bar.

    Raises:
        DeviceError: The device is not this machine, or does not run ONNX Runtime on a CPU.
        StoreError: The folder for temporary files is full.
    """
    processor = this_processor(device.hardware if device.connection == "local" else None)
    if processor is None:
        msg = f"{device.name!r} is not this machine; install compress there and run `compress devices calibrate host`"
        raise DeviceError(msg)
    if device.runtime != "onnxruntime" or device.kind != "cpu":
        msg = f"{device.name!r} runs {device.runtime} on a {device.kind}; only ONNX Runtime on a CPU can be calibrated"
        raise DeviceError(msg)
    start = time.monotonic()
    samples: list[NetworkSample] = []
    with (
        (reporter or NullReporter()).bar("timing networks", len(networks) * len(sides)) as bar,
        pinned(device.contract.affinity),
    ):
        for name, build in networks.items():
            for side in sides:
                samples += measure_network(name, build(side), side, quantize, threads=threads, seconds=seconds)
                bar.advance(note=f"{name}, {side} pixels")
    return Calibration(
        device=device.name,
        **processor._asdict(),
        threads=threads,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        accuracy=cross_validate(samples),
        load=machine_load(samples),
        rates=fit(samples),
        seconds=time.monotonic() - start,
    )


def measure_network(
    name: str, network: nn.Module, side: int, quantize: Quantize, *, threads: int, seconds: float
) -> list[NetworkSample]:
    """Samples of a network in fp32 and int8, timed in turns."""
    spec = image_spec(
        channels=3, height=side, width=side, mean=(0.0,) * 3, std=(1.0,) * 3, classes=tuple(str(label) for label in range(1000))
    )  # fmt: skip
    images = torch.randn(2, *spec.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.train()(images)  # statistics of the batch norms: without them, activations may fade into slow denormal numbers
    with tempfile.TemporaryDirectory() as folder:
        files = {number: Path(folder) / f"{number}.onnx" for number in ("fp32", "int8")}
        export_onnx(network.eval(), spec, files["fp32"])
        onnx_files.save(quantize(onnx_files.load(files["fp32"])), files["int8"])
        timings = timing.measure(files, {INPUT: images[:1].numpy()}, TimingPlan.of(seconds), threads=threads)
        return [
            NetworkSample(
                name,
                operator_work(path),
                float(np.median(timings[number].milliseconds)),
                timings[number].samples.spread(),
                timings[number].processor_share,
            )
            for number, path in files.items()
        ]


def fit(samples: Sequence[NetworkSample]) -> dict[str, Rates]:
    """Prices of every class of operators, by class."""
    classes = sorted({operator_class(item) for sample in samples for item in sample.work})
    table = np.array([_features(sample.work, classes) for sample in samples])
    prices = fit_prices(table, np.array([sample.latency_ms for sample in samples])) / MILLI_PER_NANO
    return {
        name: Rates(overhead_ns=overhead, operation_ns=operation, element_ns=element)
        for name, (overhead, operation, element) in zip(classes, prices.reshape(-1, len(FEATURES)).tolist(), strict=True)
    }


def fit_prices(table: Vector, measured: Vector) -> Vector:
    """Non-negative prices that minimise the squared error, relative to the expected value.

    Args:
        table: (n, m) amounts.
        measured: (n,), positive.

    Returns:
        (m,).
    """
    expected = measured
    for _ in range(REWEIGHTINGS):
        weighted = table / expected[:, None]
        scale = np.maximum(weighted.max(axis=0), np.finfo(float).tiny)
        prices = nnls(weighted / scale, measured / expected)[0] / scale
        expected = np.maximum(table @ prices, measured / 10)
    return np.asarray(prices)


def cross_validate(samples: Sequence[NetworkSample]) -> Accuracy:
    """Errors on each architecture, estimated by a fit on the others."""
    classes = sorted({operator_class(item) for sample in samples for item in sample.work})
    table = np.array([_features(sample.work, classes) for sample in samples])
    measured = np.array([sample.latency_ms for sample in samples])
    architectures = np.array([sample.architecture for sample in samples])
    estimated = np.empty(len(samples))
    for name in set(architectures):
        left_out = architectures == name
        estimated[left_out] = table[left_out] @ fit_prices(table[~left_out], measured[~left_out])
    ratios = measured / np.maximum(estimated, measured / 10)
    low, high = np.quantile(ratios, [0.025, 0.975])
    error = float(np.abs(estimated / measured - 1).mean())
    return Accuracy(mean=error, low=float(low), high=float(high), networks=len(set(architectures)))


def machine_load(samples: Sequence[NetworkSample]) -> MachineLoad:
    """Load of other processes while the networks were timed."""
    return MachineLoad(
        spread=float(np.median([sample.spread for sample in samples])),
        processor_share=float(np.median([sample.processor_share for sample in samples])),
    )


def _features(work: Sequence[OperatorWork], classes: Sequence[str]) -> Vector:
    table = np.zeros((len(classes), len(FEATURES)))
    for item in work:
        table[classes.index(operator_class(item))] += 1, item.operations, item.elements
    return table.ravel()


def describe_calibration(calibration: Calibration) -> str:
    """Conditions, duration, error, and whether the machine was idle."""
    accuracy, threads = calibration.accuracy, f"{calibration.threads} thread{'s' * (calibration.threads > 1)}"
    sentence = (
        f"{calibration.cpu}, {calibration.runtime}, {threads}: {len(calibration.rates)} classes of operators in "
        f"{calibration.seconds:.0f} s; mean error {accuracy.mean:.1%} on {accuracy.networks} architectures left out in turn; "
        f"95 % of the measured latencies lie between {accuracy.low - 1:+.0%} and {accuracy.high - 1:+.0%} of the estimate"
    )
    if not calibration.load_warning:
        return sentence
    return f"{sentence}\n{calibration.load_warning}: estimates include that load; stop other programs and calibrate again"
