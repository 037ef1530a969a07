"""Speed-up by each replacement of the stage `substitute`, in float32 and int8; one interleaved session per network.

    python tests/benchmarks/bench_substitute.py --out /tmp/substitute.md

Int8 files have the Q/DQ placement for ONNX Runtime, which keeps HardSwish and SiLU in integers
(`quantize/qdq/rewrite_hardswish.py`); the benchmark shows whether replacing them is still faster. Random weights and images,
224 × 224, batch 1, one thread; speed only. The record of the stage has the accuracy. `--only NAME` selects one network.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torchvision
from torch import nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.config.devices import host
from compress.core.network_spec import image_spec
from compress.core.record import Quantity
from compress.profile.compare_networks import median_ms
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import measure, speedup
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, plan_static_int8
from compress.quantize.target_requirements import needs_7bit_weights
from compress.substitute import apply as replace
from compress.substitute import find_operators as survey
from compress.substitute.operator_kinds import AUTO, DEPTHWISE, SQUEEZE_EXCITE
from compress.substitute.stage import Substitute

SIDE = 224
SPEC = image_spec(channels=3, height=SIDE, width=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple(map(str, range(1000))))
ACTIVATIONS = ("hardswish", "silu", "gelu")
VARIANTS = {
    "original": (),
    "activations": ACTIVATIONS,
    "squeeze-excite": (SQUEEZE_EXCITE,),
    "depthwise 3×3": (DEPTHWISE,),
    "all": (DEPTHWISE, SQUEEZE_EXCITE, *ACTIVATIONS),
}


def vit_tiny() -> nn.Module:
    """A vision transformer of DeiT-Ti's size."""
    return torchvision.models.VisionTransformer(SIDE, 16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "MobileNetV3-Large": torchvision.models.mobilenet_v3_large,
    "MobileNetV3-Small": torchvision.models.mobilenet_v3_small,
    "EfficientNet-B0": torchvision.models.efficientnet_b0,
    "RegNetY-400MF": torchvision.models.regnet_y_400mf,
    "ViT-Tiny": vit_tiny,
}


def variants(network: nn.Module) -> dict[str, nn.Module]:
    """The network with nothing, one kind and everything replaced; those that change nothing are left out."""
    places = survey.find_replaceable(Substitute(activations="relu6"), network, torch.zeros(2, *SPEC.shape)).places
    found = {}
    for name, kinds in VARIANTS.items():
        module = copy.deepcopy(network)
        gone: tuple[str, ...] = ()
        for kind in (kind for kind in kinds if kind in places):
            replace.replace_without_fit(module, kind, AUTO[kind], survey.outside(places[kind], gone))
            gone = places[kind] if kind == SQUEEZE_EXCITE else gone
        if not kinds or any(kind in places for kind in kinds):
            found[name] = module
    return found


def quantized(source: Path, images: np.ndarray, path: Path) -> Path:
    """The int8 file of the stage `quantize` for ONNX Runtime."""
    static = plan_static_int8(
        graphs.to_ir(onnx_files.load(source)),
        [{"input": images}],
        Int8Format(("onnxruntime",), seven_bit_weights=needs_7bit_weights()),
        CalibrationSettings(),
        PTQSettings(),
    )
    onnx_files.save(static.build("onnxruntime", (), SPEC), path)
    return path


def rows(name: str, images: np.ndarray, folder: Path, seconds: float) -> list[str]:
    """Times of one network and what each variant gains over the original, float32 and int8."""
    torch.manual_seed(0)
    files: dict[str, Path] = {}
    for number, (variant, module) in enumerate(variants(NETWORKS[name]().eval()).items()):
        files[f"{variant}/float32"] = folder / f"{number}.onnx"
        export_onnx(module, SPEC, files[f"{variant}/float32"])
        files[f"{variant}/int8"] = quantized(files[f"{variant}/float32"], images, folder / f"{number}.int8.onnx")
    found = measure(files, {"input": images[:1]}, TimingPlan.of(seconds))
    made = []
    for variant in (key.partition("/")[0] for key in files if key.endswith("/int8")):
        cells = [name, variant]
        for number in ("float32", "int8"):
            gain = speedup(found[f"original/{number}"], found[f"{variant}/{number}"])
            cells += [f"{median_ms(found[f'{variant}/{number}']):.3f}", shown(gain) if variant != "original" else "-"]
        made.append(f"| {' | '.join(cells)} |")
    return made


def shown(gain: Quantity) -> str:
    """A ratio with its 95 % interval."""
    return f"{gain.value:.2f} ({gain.low:.2f}–{gain.high:.2f})" if gain.low is not None else f"{gain.value:.2f}"


def main() -> int:
    """Make, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where the table goes; printed as well")
    parser.add_argument("--only", choices=NETWORKS)
    parser.add_argument("--seconds", type=float, default=2.0, help="counted time of each file")
    given = parser.parse_args()
    images = np.random.default_rng(0).normal(size=(8, 3, SIDE, SIDE)).astype(np.float32)
    hardware = host().hardware
    lines = [
        f"{hardware.cpu if hardware else 'this machine'}, ONNX Runtime {onnxruntime.__version__}, 1 thread, batch 1",
        "",
        "| network | replaced | float32 ms | times as fast (95 %) | int8 ms | times as fast (95 %) |",
        "|---|---|---:|---|---:|---|",
    ]
    print("\n".join(lines))
    for name in (given.only,) if given.only else NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            made = rows(name, images, Path(folder), given.seconds)
        print("\n".join(made), flush=True)
        lines += made
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
