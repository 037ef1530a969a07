"""Time and memory of post-training quantization of ResNet-50 at 224 × 224, compared with training it.

    python tests/benchmarks/bench_quantization_cost.py --out DIR [--smoke]

Each runs in a new process on two threads: two training steps at batch 32; and range estimation, equalization, GPTQ with
searched scales and empirical bias correction on 512 images. Random weights and images. Prints a Markdown table; the machine
must be idle.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import image_spec
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, plan_static_int8
from compress.quantize.target_requirements import needs_7bit_weights


@dataclass(frozen=True)
class Cost:
    """How much `cost` does: calibration images, their side, the batch of training."""

    samples: int = 512
    side: int = 224
    batch: int = 32


SMOKE = Cost(samples=16, side=32, batch=4)


LIMITS = 180.0, 1.5
PTQ: dict[str, Any] = {"equalize": True, "weights": {"range": "mse", "rounding": "gptq"}, "bias_correction": "empirical"}


def main() -> None:
    """Measure both and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the exported network")
    parser.add_argument("--smoke", action="store_true", help="toy size")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.measure:
        measured(given.measure, SMOKE if given.smoke else Cost(), given.out)
        return
    _fresh("export", given.out, smoke=given.smoke)
    print("| ResNet-50 | wall s | processor s | peak resident MB |\n|---|---|---|---|")
    rows = {}
    for what in ("train", "quantize"):
        rows[what] = one = _fresh(what, given.out, smoke=given.smoke)
        print(f"| {what} | {one['wall']:.0f} | {one['cpu']:.0f} | {one['peak'] / 1e6:.0f} |", flush=True)
    ratio = rows["quantize"]["peak"] / rows["train"]["peak"]
    print(f"\nPTQ: {rows['quantize']['wall']:.0f} s (goal {LIMITS[0]:.0f}), {ratio:.2f} × the memory (goal {LIMITS[1]})")


def _fresh(what: str, out: Path, *, smoke: bool) -> dict[str, Any]:
    """Run `measured` in a process of its own."""
    command = [sys.executable, __file__, "--out", str(out), "--measure", what, *(["--smoke"] if smoke else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def measured(what: str, size: Cost, out: Path) -> None:
    """Train two steps, quantize after training, or export; prints time and peak resident memory as JSON."""
    torch.set_num_threads(2)
    spec = image_spec(
        channels=3, height=size.side, width=size.side, mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple(map(str, range(1000)))
    )  # fmt: skip
    path = out / "resnet50.onnx"
    torch.manual_seed(0)
    module = torchvision.models.resnet50()
    images = np.random.default_rng(0).normal(size=(size.samples, *spec.shape)).astype(np.float32)
    wall, cpu = time.monotonic(), time.process_time()
    if what == "export":
        export_onnx(module.eval(), spec, path)
    elif what == "train":
        optimizer = torch.optim.AdamW(module.train().to(memory_format=torch.channels_last).parameters())
        for _ in range(2):
            optimizer.zero_grad()
            module(torch.from_numpy(images[: size.batch])).logsumexp(1).sum().backward()
            optimizer.step()
    else:
        batches = [{"input": images[start : start + 8]} for start in range(0, len(images), 8)]
        plan_static_int8(
            graphs.to_ir(onnx_files.load(path)),
            batches,
            Int8Format(("onnxruntime",), seven_bit_weights=needs_7bit_weights()),
            CalibrationSettings(samples=size.samples),
            PTQSettings.model_validate(PTQ),
        )
    spent = {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps({**spent, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


if __name__ == "__main__":
    main()
