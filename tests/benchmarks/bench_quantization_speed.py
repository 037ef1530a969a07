"""Latency of our int8 files and those of other tools: 14 networks, all files of one network interleaved in one session.

    python tests/benchmarks/bench_quantization_speed.py --cache /tmp/quantization --nncf /tmp/nncf_venv/bin/python

Ours: the files with the Q/DQ placements for ONNX Runtime and for OpenVINO, each in its runtime; the faster one counts, as in
the acceptance test. Others: ONNX Runtime float32, ONNX Runtime's `quantize_static` with its defaults, and OpenVINO with NNCF's
default post-training quantization. Random weights and images, batch 1, 224 × 224, one thread and two. Goal: geometric mean of
ours ÷ fastest other at most 0.75, and no ratio over 1.00. NNCF needs an environment of its own, because it pins versions of
common dependencies:

    python -m venv /tmp/nncf_venv && /tmp/nncf_venv/bin/pip install nncf openvino onnx

Without `--nncf` the table has no such column and says so. Prints a Markdown table; exits with 1 if a goal is missed. Takes
about 40 minutes, most of it for the files, which `--files` makes alone and the cache keeps; `--quick` times one small network
for seconds and only checks that the script runs.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import timm
import torch
import torchvision
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from torch import Tensor, nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.openvino_runner import OpenVinoRunner as OpenVino
from compress.core.network_spec import NetworkSpec, image_spec
from compress.models.anchor_detectors import AnchorDetector
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import time_runners
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, plan_static_int8
from compress.quantize.target_requirements import needs_7bit_weights

MEAN_GOAL, WORST_GOAL = 0.75, 1.0
SIDE = 224
IMAGES = 8
NNCF = """
import sys, numpy, nncf, openvino
source, images, made = sys.argv[1:]
model = openvino.Core().read_model(source)
samples = numpy.load(images)
model.reshape([1, *samples.shape[1:]])
quantized = nncf.quantize(model, nncf.Dataset([samples[place : place + 1] for place in range(len(samples))]))
openvino.save_model(quantized, made)
"""


def vit_tiny() -> nn.Module:
    """A vision transformer of DeiT-Ti's size."""
    return torchvision.models.VisionTransformer(SIDE, 16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768)


class SSDLite(nn.Module):
    """torchvision's SSDLite for 80 classes and the background, whose logits and offsets are one output."""

    def __init__(self) -> None:
        super().__init__()
        network = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=81
        )
        self.detector = AnchorDetector(network, (SIDE, SIDE), channels=3)

    def forward(self, image: Tensor) -> Tensor:
        """The outputs of its two heads, (N, anchors × 85)."""
        logits, offsets, _ = self.detector(image)
        return torch.cat((logits, offsets), dim=-1).flatten(1)


def from_timm(name: str) -> Callable[[], nn.Module]:
    """A network of timm with random weights."""
    return partial(timm.create_model, name)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ResNet-50": torchvision.models.resnet50,
    "MobileNetV2": torchvision.models.mobilenet_v2,
    "MobileNetV3-Large": torchvision.models.mobilenet_v3_large,
    "EfficientNet-B0": torchvision.models.efficientnet_b0,
    "RegNetY-400MF": torchvision.models.regnet_y_400mf,
    "ViT-Tiny": vit_tiny,
    "DenseNet-121": torchvision.models.densenet121,
    "ShuffleNetV2-1.0": torchvision.models.shufflenet_v2_x1_0,
    "ConvNeXt-Tiny": torchvision.models.convnext_tiny,
    "RegNetX-400MF": torchvision.models.regnet_x_400mf,
    "EfficientNetV2-S": torchvision.models.efficientnet_v2_s,
    "GhostNet-1.0": from_timm("ghostnet_100"),
    "MobileViT-S": from_timm("mobilevit_s"),
    "SSDLite-MobileNetV3": SSDLite,
}


class Converted(OpenVino):
    """What NNCF wrote, which is OpenVINO's own format and no ONNX."""

    def __enter__(self) -> Converted:
        """Read and compile with the settings of the other runner."""
        import openvino

        self._version = openvino.__version__
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": str(self.threads),
        }
        self._model = openvino.Core().compile_model(openvino.Core().read_model(self.path), "CPU", settings)
        self._request = self._model.create_infer_request()
        return self


class Images(CalibrationDataReader):
    """Calibration for ONNX Runtime's own quantizer."""

    def __init__(self, images: np.ndarray) -> None:
        self._left = iter([{"input": images[place : place + 1]} for place in range(len(images))])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next image."""
        return next(self._left, None)


def files_of(name: str, build: Callable[[], nn.Module], images: np.ndarray, cache: Path, nncf: str | None) -> dict[str, Path]:
    """Every file of one network, made where the cache has it not."""
    found = {kind: cache / f"{name}.{kind}.onnx" for kind in ("float", "defaults", "ours-onnxruntime", "ours-openvino")}
    spec = image_spec(
        channels=3, height=SIDE, width=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple(map(str, range(1000)))
    )  # fmt: skip
    if not found["float"].exists():
        torch.manual_seed(0)
        export_onnx(build().eval(), spec, found["float"])
    if not found["defaults"].exists():
        quantize_static(found["float"], found["defaults"], Images(images))
    families = ("onnxruntime", "openvino")
    if not all(found[f"ours-{family}"].exists() for family in families):
        quantize(found, images, spec)
    if nncf is not None:
        found["nncf"] = cache / f"{name}.nncf.xml"
        if not found["nncf"].exists():
            np.save(cache / "images.npy", images)
            command = [nncf, "-c", NNCF, str(found["float"]), str(cache / "images.npy"), str(found["nncf"])]
            subprocess.run(command, check=True, capture_output=True)
    return found


def quantize(found: dict[str, Path], images: np.ndarray, spec: NetworkSpec) -> None:
    """Write our files."""
    model = onnx_files.load(found["float"])
    families = ("onnxruntime", "openvino")
    static = plan_static_int8(
        graphs.to_ir(model),
        [{"input": images}],
        Int8Format(families, seven_bit_weights=needs_7bit_weights()),
        CalibrationSettings(),
        PTQSettings(),
    )
    for family in families:
        onnx_files.save(static.build(family, (), spec), found[f"ours-{family}"])


def timed(files: dict[str, Path], image: np.ndarray, threads: int, seconds: float) -> dict[str, float]:
    """Median latency in ms by file, all in turns."""
    runners = {"nncf": Converted, "ours-openvino": OpenVino}
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(runners.get(name, OnnxRuntimeRunner)(path, threads=threads))
            for name, path in files.items()
        }
        timings = time_runners(
            opened,
            {name: {"input": image} for name in opened},
            TimingPlan.of(seconds),
            batch=1,
        )
    return {name: float(np.median(one.milliseconds)) for name, one in timings.items()}


def main() -> int:
    """Make, time, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--nncf", help="python of an environment with nncf")
    parser.add_argument("--seconds", type=float, default=4.0, help="counted time of each file")
    parser.add_argument("--only", default="", help="networks to time, by comma; all by default")
    parser.add_argument("--files", action="store_true", help="make the files and time nothing")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    wanted = ["MobileNetV2"] if given.quick else [name for name in given.only.split(",") if name] or list(NETWORKS)
    networks = {name: NETWORKS[name] for name in wanted}
    images = np.random.default_rng(0).normal(size=(IMAGES, 3, SIDE, SIDE)).astype(np.float32)
    print(f"onnx {onnx.__version__}, NNCF {'in its own environment' if given.nncf else 'left out: no --nncf'}\n")
    print("| network | threads | float32 | defaults | NNCF | ours, ONNX Runtime | ours, OpenVINO | ours ÷ fastest peer |")
    print("|---|---|---|---|---|---|---|---|")
    ratios = []
    for name, build in networks.items():
        files = files_of(name, build, images, given.cache, given.nncf)
        if given.files:
            continue
        for threads in (1,) if given.quick else (1, 2):
            found = timed(files, images[:1], threads, 0.2 if given.quick else given.seconds)
            ours = min(value for key, value in found.items() if key.startswith("ours"))
            ratios.append(ours / min(value for key, value in found.items() if not key.startswith("ours")))
            cells = [f"{found[key]:.2f}" if key in found else "-" for key in ("float", "defaults", "nncf")]
            cells += [f"{found[key]:.2f}" for key in ("ours-onnxruntime", "ours-openvino")]
            print(f"| {name} | {threads} | {' | '.join(cells)} | {ratios[-1]:.3f} |", flush=True)
    if given.files:
        return 0
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"\ngeometric mean {mean:.3f} (goal {MEAN_GOAL}), worst {max(ratios):.3f} (goal {WORST_GOAL})")
    return 0 if given.quick or (mean <= MEAN_GOAL and max(ratios) <= WORST_GOAL) else 1


if __name__ == "__main__":
    sys.exit(main())
