"""Latency of networks in every runtime, float and int8, all rows of a network in one interleaved session.

    python tests/benchmarks/bench_runtimes.py --cache /tmp/runtimes --only MobileNetV2,ResNet-18 --side 96

Random weights and images, batch 1, one thread: times only, no accuracy. Each network has its float ONNX file and our int8 files
with the placements for ONNX Runtime and OpenVINO, converted for every installed runtime; a conversion that fails is a row with
its reason. Prints a Markdown table and the geometric mean, over the networks, of our choice (the fastest row whose outputs
agree) ÷ the best single runtime, which is the one row of runtime and number format with the smallest geometric mean. Goal: at
most 0.9; exits with 1 if it is missed. Conversions take a minute or two for each network.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.config.devices import load_device
from compress.core.network_spec import image_spec
from compress.core.progress import NullReporter
from compress.pipeline.benchmark_runtimes import BenchmarkOptions, benchmark_runtimes
from compress.profile.runtimes.compare import RuntimeResult
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, plan_static_int8
from compress.quantize.target_requirements import needs_7bit_weights

GOAL = 0.9
IMAGES = 8
RUNTIMES = "onnxruntime,openvino,ort,ncnn,mnn,executorch,litert"


def vit_tiny(side: int) -> nn.Module:
    """A vision transformer of DeiT-Ti's width."""
    return torchvision.models.VisionTransformer(side, 16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768)


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "MobileNetV2": lambda _: torchvision.models.mobilenet_v2(),
    "ResNet-18": lambda _: torchvision.models.resnet18(),
    "EfficientNet-B0": lambda _: torchvision.models.efficientnet_b0(),
    "ViT-Tiny": vit_tiny,
}


def files_of(name: str, side: int, folder: Path) -> tuple[Path, Path]:
    """The float file and the int8 file of ONNX Runtime; that of OpenVINO is beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    names = tuple(map(str, range(1000)))
    spec = image_spec(channels=3, height=side, width=side, mean=(0.5,) * 3, std=(0.25,) * 3, classes=names)
    export_onnx(NETWORKS[name](side).eval(), spec, folder / "float.onnx")
    images = np.random.default_rng(0).normal(size=(IMAGES, 3, side, side)).astype(np.float32)
    plan = plan_static_int8(
        graphs.to_ir(onnx_files.load(folder / "float.onnx")),
        [{"input": images}],
        Int8Format(("onnxruntime", "openvino"), seven_bit_weights=needs_7bit_weights()),
        CalibrationSettings(),
        PTQSettings(),
    )
    onnx_files.save(plan.build("onnxruntime", (), spec), folder / "int8.onnx")
    onnx_files.save(plan.build("openvino", (), spec), folder / "int8.openvino.onnx")
    return folder / "float.onnx", folder / "int8.onnx"


def latency_ms(result: RuntimeResult) -> float | None:
    """Median latency; None where it was not measured."""
    quantity = result.quantities.get("latency_p50_ms")
    return None if quantity is None else quantity.value


def row_of(name: str, result: RuntimeResult) -> str:
    """A row of the table."""
    entrant, agreement = result.entrant, result.agreement
    if result.reason:
        return f"| {name} | {entrant.precision} | {entrant.runtime} | - | - | - | {result.reason[:160].replace('|', '/')} |"
    quantity, size = result.quantities["latency_p50_ms"], result.quantities["size_bytes"].value or 0.0
    took = "not measured" if quantity.value is None else f"{quantity.value:.2f} ({quantity.low:.2f}–{quantity.high:.2f})"
    differs = "" if agreement is None else f"{agreement.difference:.2g}"
    mark = "chosen" if result.fastest else "" if result.keeps else "does not agree"
    return f"| {name} | {entrant.precision} | {result.version} | {took} | {size / 1e6:.2f} | {differs} | {mark} |"


def judge(measured: dict[str, tuple[RuntimeResult, ...]]) -> float:
    """Geometric mean of our choice ÷ the best single row that ran for every network."""
    times: dict[tuple[str, str], list[float]] = {}
    chosen = []
    for results in measured.values():
        for result in results:
            value = latency_ms(result)
            if value is not None and result.keeps:
                times.setdefault((result.entrant.precision, result.entrant.runtime), []).append(value)
            if value is not None and result.fastest:
                chosen.append(value)
    means = {key: math.exp(np.mean(np.log(values))) for key, values in times.items() if len(values) == len(measured)}
    best = min(means, key=lambda key: means[key])
    ratio = math.exp(float(np.mean(np.log(chosen)))) / means[best]
    print(f"\nour choice ÷ best single ({' '.join(best)}): geometric mean {ratio:.3f} (goal {GOAL})")
    return ratio


def main() -> int:
    """Make, convert, time, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--only", default="", help="networks, by comma; all by default")
    parser.add_argument("--runtimes", default=RUNTIMES)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--seconds", type=float, default=2.0, help="counted time of each row")
    given = parser.parse_args()
    print("| network | numbers | runtime | p50, ms | MB | difference | |\n|---|---|---|---|---|---|---|")
    measured = {}
    for name in [name for name in given.only.split(",") if name] or list(NETWORKS):
        folder = given.cache / name
        options = BenchmarkOptions(given.runtimes, seconds=given.seconds)
        files = files_of(name, given.side, folder)
        measured[name] = benchmark_runtimes(files, load_device("host"), options, folder / "converted", NullReporter())
        for result in measured[name]:
            print(row_of(name, result), flush=True)
    return 0 if judge(measured) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
