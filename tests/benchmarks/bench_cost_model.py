"""How far the cost model's estimates are from measured latency on this machine, calibrated and not.

    compress devices calibrate host
    python tests/benchmarks/bench_cost_model.py --cache /tmp/cost_models

Fifteen torchvision networks, float and int8, random weights, one thread. None of them takes part in calibration, which measures
random networks. The first run exports them, which takes some minutes; later ones find them in the cache.
Prints a Markdown table; `--out` also writes it to a file. Exits with 1 when the goal is missed. On a machine with other users,
`--processor-time` counts the time that the processor gave to the measurement instead of the time that went by; the two are the
same on a quiet machine, and the table says which it is.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.config.devices import Device, host
from compress.core.record import InputSpec
from compress.core.statistics import drifting_percentile_interval
from compress.profile.cost_model import estimate as cost
from compress.profile.cost_model.calibration_file import Calibration
from compress.profile.cost_model.roofline_peaks import with_measured_peaks
from compress.profile.latency.interleave import interleave
from compress.profile.latency.timing import measure

NETWORKS = {
    "alexnet": 224, "densenet169": 224, "efficientnet_b0": 224, "googlenet": 224, "mnasnet1_0": 224, "mobilenet_v3_large": 224,
    "mobilenet_v3_small": 224, "regnet_x_400mf": 224, "resnet34": 224, "resnet50": 224, "resnext50_32x4d": 224,
    "squeezenet1_1": 224, "vgg11": 224, "vit_b_32": 224, "wide_resnet50_2": 224,
}  # fmt: skip
"""By name: side of the input in pixels."""
MEAN_GOAL, SHARE_GOAL, NEAR = 0.12, 0.80, 0.15
BUSY = 0.9
"""Share of the processor under which a row is marked: other processes took part of it."""


@dataclass(frozen=True)
class Row:
    """One file: median with interval and number of runs, share of the processor that it got, and two estimates; times in ms."""

    name: str
    number: str
    measured: float
    low: float
    high: float
    runs: int
    share: float
    calibrated: float
    uncalibrated: float


def files(names: list[str], cache: Path) -> dict[tuple[str, str], Path]:
    """ONNX files by network and number; those missing from the cache are made."""
    found = {}
    for name in names:
        for number in ("fp32", "int8"):
            found[name, number] = cache / f"{name}_{NETWORKS[name]}_{number}.onnx"
        if not all(found[name, number].is_file() for number in ("fp32", "int8")):
            print(f"exporting {name}", file=sys.stderr)
            export(name, NETWORKS[name], found[name, "fp32"], found[name, "int8"])
    return found


def export(name: str, size: int, floats: Path, ints: Path) -> None:
    """Random weights, float and int8. Batch norms are fed once, so that no activation fades into denormal numbers."""
    import torch
    import torchvision

    from compress.backends import onnx_graph as graphs
    from compress.backends.export_onnx import export_onnx
    from compress.quantize.calibration import observe as calibrate
    from compress.quantize.qdq import placement
    from compress.quantize.qdq import quantize_graph as int8
    from compress.quantize.target_requirements import needs_7bit_weights

    torch.manual_seed(0)
    arguments = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    network = getattr(torchvision.models, name)(weights=None, **arguments)
    x = torch.randn(4, 3, size, size)
    with torch.no_grad():
        network.train()(x)
    spec = InputSpec(
        channels=3, height=size, width=size, mean=(0.0,) * 3, std=(1.0,) * 3, classes=tuple(str(i) for i in range(1000))
    )
    floats.parent.mkdir(parents=True, exist_ok=True)
    export_onnx(network.eval(), spec, floats)
    model = graphs.load(floats)
    fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 4
    batches = [part.numpy() for part in x.split(fixed)]
    seen = calibrate.observe(
        graphs.to_ir(model), placement.activations_to_calibrate(model, ("onnxruntime",)), batches, counts=False
    )
    ranges = {key: (one.low, one.high) for key, one in seen.items()}
    made = int8.quantize_static(model, ranges, "onnxruntime", per_channel=True, reduce_range=needs_7bit_weights())
    graphs.write_metadata(made, spec)
    graphs.save(made, ints)


def row(name: str, number: str, path: Path, found: Calibration, rough: Device, seconds: float, *, processor_time: bool) -> Row:
    """Measure one file and estimate it twice."""
    side = NETWORKS[name]
    inputs = np.random.default_rng(0).normal(size=(1, 3, side, side)).astype(np.float32)
    if processor_time:
        milliseconds, share = processor_times(path, inputs, seconds), 1.0
    else:
        timing = measure({name: path}, inputs, threads=1, seconds=seconds, warmup_seconds=0.5)[name]
        milliseconds, share = timing.milliseconds, timing.processor_share
    low, high = drifting_percentile_interval(milliseconds, 0.5) or (0.0, 0.0)
    return Row(
        name, number, float(np.median(milliseconds)), low, high, len(milliseconds), share,
        cost.calibrated_estimate(path, found).latency_ms, cost.roofline_estimate(cost.work_of(path), rough).latency_ms,
    )  # fmt: skip


def processor_times(path: Path, inputs: np.ndarray, seconds: float) -> np.ndarray:
    """Milliseconds of processor time of each run, (n,)."""
    with OnnxRuntimeRunner(path, threads=1) as runner:
        feeds = {next(iter(runner.shapes())): inputs}
        taken = interleave(
            {"run": lambda: runner.run(feeds)}, seconds=seconds, warmup_seconds=0.5, clock=time.process_time_ns
        )  # fmt: skip
    return taken["run"].milliseconds


def table(rows: list[Row], found: Calibration, *, processor_time: bool) -> str:
    """Rows and summary as Markdown."""
    lines = [
        f"Host: {found.cpu}, {found.runtime}, 1 thread, batch 1. Calibrated on {found.created} in {found.seconds:.0f} s on "
        f"{found.accuracy.networks} random networks (left out in turns: mean error {found.accuracy.mean:.1%}). "
        + ("Measured: processor time, since others used the machine." if processor_time else "Measured: time that went by."),
        "",
        "| network | numbers | p50 ms (95 %) | runs | processor | calibrated ms | error | uncalibrated ms | error |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in rows:
        mark = " (busy)" if one.share < BUSY else ""
        cells = (
            f"{one.name} {NETWORKS[one.name]}", one.number, f"{one.measured:.2f} ({one.low:.2f} to {one.high:.2f})",
            str(one.runs), f"{one.share:.0%}{mark}", f"{one.calibrated:.2f}", f"{one.calibrated / one.measured - 1:+.1%}",
            f"{one.uncalibrated:.2f}", f"{one.uncalibrated / one.measured - 1:+.1%}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| | mean error | within ±15 % |", "|---|--:|--:|"]
    for title, estimate in (("calibrated", _calibrated), ("uncalibrated, from measured peaks", _uncalibrated)):
        mean, share = summary(rows, estimate)
        lines.append(f"| {title} | {mean:.1%} | {share:.0%} of {len(rows)} |")
    return "\n".join(lines) + "\n"


def _calibrated(one: Row) -> float:
    return one.calibrated


def _uncalibrated(one: Row) -> float:
    return one.uncalibrated


def summary(rows: list[Row], estimate: Callable[[Row], float]) -> tuple[float, float]:
    """Mean error, and share of rows within 15 %."""
    errors = np.array([abs(estimate(one) / one.measured - 1) for one in rows])
    return float(errors.mean()), float((errors <= NEAR).mean())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the exported networks; made when missing")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS, help="a slice of them")
    parser.add_argument("--seconds", type=float, default=5.0, help="counted time of each file")
    parser.add_argument("--processor-time", action="store_true", help="for a machine that others use as well")
    parser.add_argument("--out", type=Path, help="also write the table here")
    chosen = parser.parse_args()
    found, reason = cost.find_calibration(host())
    if found is None:
        sys.exit(f"no calibration of this machine that holds ({reason}); make one: compress devices calibrate host")
    rough = with_measured_peaks(host())
    rows = []
    for (name, number), path in files(chosen.networks, chosen.cache).items():
        rows.append(row(name, number, path, found, rough, chosen.seconds, processor_time=chosen.processor_time))
        print(f"{name} {number}: {rows[-1].measured:.2f} ms, estimated {rows[-1].calibrated:.2f}", file=sys.stderr)
    text = table(rows, found, processor_time=chosen.processor_time)
    print(text)
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")
    mean, share = summary(rows, _calibrated)
    sys.exit(mean > MEAN_GOAL or share < SHARE_GOAL)


if __name__ == "__main__":
    main()
