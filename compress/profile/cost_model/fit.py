"""Fit the cost model of this machine to measured latencies of torchvision networks.

    t = Σ over operators of  overhead_ns + operation_ns × operations + element_ns × elements

Each class of operators (see `estimate.operator_class`) has its own coefficients: non-negative least squares of the relative
errors (Lawson & Hanson 1974, "Solving Least Squares Problems", chapter 23). The error of the estimates is measured by
cross-validation that leaves out one architecture at a time.
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
from compress.core.counted import threads_text
from compress.core.errors import DeviceError
from compress.core.language import gettext
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
"""Errors are divided by the fitted latency; divided by the measured latency, outliers below it would have most weight."""


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
        architecture: Name of the architecture; cross-validation leaves out all its files together.
        work: Work of its operators.
        latency_ms: Median latency at batch 1.
        spread: Spread of repeated timings; see `Samples.spread`.
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
    """Measure networks in fp32 and int8, and fit the latency coefficients of their operators.

    Args:
        device: A profile of this machine.
        quantize: Returns the int8 version of a float network.
        threads: Threads within an operator.
        seconds: Timing per file, without warm-up.
        networks: At least three architectures; see `NETWORKS`.
        sides: Side lengths of the input images, pixels.
        reporter: Shows a progress bar.

    Raises:
        DeviceError: The device is not this machine, or does not run ONNX Runtime on a CPU.
        StoreError: The folder for temporary files is full.
    """
    processor = this_processor(device.hardware if device.connection == "local" else None)
    if processor is None:
        msg = gettext(
            "{name!r} is not this machine; install compress there and run `compress devices calibrate host`", name=device.name
        )
        raise DeviceError(msg)
    if device.runtime != "onnxruntime" or device.kind != "cpu":
        msg = gettext(
            "{name!r} runs {runtime} on a {kind}; only ONNX Runtime on a CPU can be calibrated",
            name=device.name,
            runtime=device.runtime,
            kind=device.kind,
        )
        raise DeviceError(msg)
    start = time.monotonic()
    samples: list[NetworkSample] = []
    with (
        (reporter or NullReporter()).bar(gettext("timing networks"), len(networks) * len(sides)) as bar,
        pinned(device.contract.affinity),
    ):
        for name, build in networks.items():
            for side in sides:
                samples += measure_network(name, build(side), side, quantize, threads=threads, seconds=seconds)
                bar.advance(note=gettext("{name}, {side} pixels", name=name, side=side))
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
        network.train()(images)  # sets batch-norm statistics: without them, activations may shrink to slow denormal numbers
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
    """Coefficients by class of operators."""
    classes = sorted({operator_class(item) for sample in samples for item in sample.work})
    table = np.array([_features(sample.work, classes) for sample in samples])
    coefficients = fit_coefficients(table, np.array([sample.latency_ms for sample in samples])) / MILLI_PER_NANO
    rows = coefficients.reshape(-1, len(FEATURES)).tolist()
    return {
        name: Rates(overhead_ns=overhead, operation_ns=operation, element_ns=element)
        for name, (overhead, operation, element) in zip(classes, rows, strict=True)
    }


def fit_coefficients(table: Vector, measured: Vector) -> Vector:
    """Non-negative coefficients c that minimise Σ ((table · c − measured) ÷ fitted)², by iterative reweighting.

    Args:
        table: (n, m) features.
        measured: (n,) latencies, positive.

    Returns:
        (m,).
    """
    fitted = measured
    for _ in range(REWEIGHTINGS):
        weighted = table / fitted[:, None]
        scale = np.maximum(weighted.max(axis=0), np.finfo(float).tiny)  # columns differ by many orders of magnitude
        coefficients = nnls(weighted / scale, measured / fitted)[0] / scale
        fitted = np.maximum(table @ coefficients, measured / 10)
    return np.asarray(coefficients)


def cross_validate(samples: Sequence[NetworkSample]) -> Accuracy:
    """Error on each architecture by a fit on the other ones."""
    classes = sorted({operator_class(item) for sample in samples for item in sample.work})
    table = np.array([_features(sample.work, classes) for sample in samples])
    measured = np.array([sample.latency_ms for sample in samples])
    architectures = np.array([sample.architecture for sample in samples])
    estimated = np.empty(len(samples))
    for name in set(architectures):
        left_out = architectures == name
        estimated[left_out] = table[left_out] @ fit_coefficients(table[~left_out], measured[~left_out])
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
    """Summary for the terminal: conditions, duration, error, and a warning if the machine was not idle."""
    accuracy, threads = calibration.accuracy, threads_text(calibration.threads)
    sentence = gettext(
        "{cpu}, {runtime}, {threads}: {count} classes of operators in "
        "{seconds:.0f} s; mean error {mean:.1%} in cross-validation over {networks} "
        "architectures; 95 % of the measured latencies lie between {low:+.0%} and {high:+.0%} of "
        "the estimate",
        cpu=calibration.cpu,
        runtime=calibration.runtime,
        threads=threads,
        count=len(calibration.rates),
        seconds=calibration.seconds,
        mean=accuracy.mean,
        networks=accuracy.networks,
        low=accuracy.low - 1,
        high=accuracy.high - 1,
    )
    if not calibration.load_warning:
        return sentence
    return gettext(
        "{sentence}\n{load_warning}: estimates include that load; stop other programs and calibrate again",
        sentence=sentence,
        load_warning=calibration.load_warning,
    )
