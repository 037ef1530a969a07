"""Common parts of the accuracy benchmarks: `glyphs`, networks trained on it, and units whose results are stored."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn
from torchvision.models.vision_transformer import ConvStemConfig

from compress.backends.export_onnx import export_onnx
from compress.backends.run_split import run_split
from compress.core.atomic_files import write_text
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context
from compress.core.statistics import paired_difference
from compress.data.factory import load_data
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.models.count_macs import count_network
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.prune.stage import Prune
from compress.tasks.classification import Classification
from compress.train.loop import fit
from compress.train.plan import TrainingPlan
from compress.train.settings import Training

BATCH = 64
VIT = {"patch_size": 8, "num_layers": 4, "num_heads": 4, "hidden_dim": 128, "mlp_dim": 512}
STEM = ((24, 3, 2), (48, 3, 2), (96, 3, 2))
"""Convolutions before the ViT's patches, which it needs to learn anything from so few images: arXiv:2106.14881."""


EPOCHS = {
    "mobilenet_v2": 6,
    "resnet18": 6,
    "vit": 24,
    "mobilenet_v3_large": 6,
    "efficientnet_b0": 6,
    "regnet_y_400mf": 6,
    "chain": 6,
}
"""Of dense training."""
RECOVERY = {"mobilenet_v2": 2, "resnet18": 2, "vit": 8}
"""Epochs of recovery in all, of both arms."""
SMALL_STEM = ("mobilenet_v2", "mobilenet_v3_large", "regnet_y_400mf", "efficientnet_b0")
"""First stride 1, for small images; ResNet-18 would take too long with it."""


@dataclass(frozen=True)
class Size:
    """How much of everything: images, part of the fonts held out, epochs by network in all, rounds of tickets."""

    samples: int = 20_000
    test: float = 0.3
    dense: Mapping[str, int] = field(default_factory=lambda: EPOCHS)
    recovery: Mapping[str, int] = field(default_factory=lambda: RECOVERY)
    rounds: int = 3


SMOKE = Size(samples=310, test=0.4, dense=defaultdict(lambda: 1), recovery=defaultdict(lambda: 1), rounds=1)
LR = {"vit": 1e-3}
"""Peak learning rates that are not 2e-3."""


def network(name: str, data: Data, seed: int) -> nn.Module:
    """Fresh weights."""
    classes = len(data.spec.classes)
    if name in ("vit", "chain"):
        torch.manual_seed(seed)
        if name == "chain":
            return chain(classes)
        stem = [ConvStemConfig(*one) for one in STEM]
        return torchvision.models.VisionTransformer(data.spec.height, num_classes=classes, conv_stem_configs=stem, **VIT).eval()
    settings = ModelSettings(source=f"torchvision:{name}", small_stem=name in SMALL_STEM)
    module = build_model(settings, data.spec, seed=seed, base=Path.cwd()).module
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 0.1  # MobileNetV3's 0.01 is for trainings of hundreds of thousands of steps
    return module


def chain(classes: int) -> nn.Module:
    """Six layers, so that all 64 subsets can be tried."""
    layers: list[nn.Module] = []
    before = 3
    for width, groups in ((16, 1), (16, 16), (32, 1), (32, 32), (64, 1)):
        stride = 2 if groups > 1 or before == 3 else 1
        layers += [nn.Conv2d(before, width, 3, stride, 1, groups=groups), nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes)).eval()


def train(module: nn.Module, data: Data, seed: int, folder: Path, *, epochs: int, lr: float, label: str) -> nn.Module:
    """Plain training on hard labels, in place."""
    settings = Training(epochs=epochs, batch_size=BATCH, lr=lr, keep="last", warmup=0.15, clip=1.0)
    terms = (lookup("loss", "task").load()(),)
    plan = TrainingPlan(settings, data, Classification(), terms, seed)
    fit(module, plan, folder=folder, label=label, device="cpu")
    return module


def correct(module: nn.Module, data: Data) -> list[int]:
    """1 for each test sample that is right."""
    return [int(score) for score in run_split(module, data.test, Classification()).scores]


@dataclass(frozen=True)
class Bench:
    """Units of one run: each is computed once and kept.

    Attributes:
        out: Folder of the units.
        size: How much of everything.
        data: Images.
        seeds: Of weights and order.
    """

    out: Path
    size: Size
    data: Data
    seeds: tuple[int, ...]

    def unit(self, name: str, compute: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """A finished unit's figures, or compute them now."""
        path = self.out / f"{name}.json"
        if not path.exists():
            began, spent = time.monotonic(), time.process_time()
            found = compute(self.out / "work" / name)
            took = {"wall_s": time.monotonic() - began, "processor_s": time.process_time() - spent}
            write_text(path, json.dumps({**found, **took}))
            shutil.rmtree(self.out / "work" / name, ignore_errors=True)
            print(f"{name}: {took['wall_s']:.0f} s, accuracy {np.mean(found.get('correct', [0])):.4f}", flush=True)
        return dict(json.loads(path.read_text()))

    def dense(self, name: str, seed: int) -> nn.Module:
        """The trained dense network of a seed."""
        module, weights = network(name, self.data, seed), self.out / f"dense-{name}-{seed}.pt"

        def compute(folder: Path) -> dict[str, Any]:
            train(module, self.data, seed, folder, epochs=self.size.dense[name], lr=LR.get(name, 2e-3), label="dense")
            torch.save(module.state_dict(), weights)
            export_onnx(module, self.data.spec, self.out / f"dense-{name}-{seed}.onnx")
            return {"correct": correct(module, self.data), "macs": count_network(module, self.data.spec).macs}

        self.unit(f"dense-{name}-{seed}", compute)
        module.load_state_dict(torch.load(weights, weights_only=True))
        return module

    def complete(self, *units: str) -> tuple[int, ...]:
        """Seeds of which all of these units are there."""
        return tuple(
            seed for seed in self.seeds if all((self.out / f"{unit.format(seed=seed)}.json").exists() for unit in units)
        )

    def right(self, unit: str, seeds: tuple[int, ...] | None = None) -> np.ndarray:
        """0 or 1 by test sample of a kept unit, all seeds in a row."""
        names = [unit.format(seed=seed) for seed in seeds or self.seeds]
        return np.concatenate([np.array(self.unit(name, _missing)["correct"]) for name in names])

    def prune(self, name: str, module: nn.Module, seed: int, **fields: Any) -> dict[str, Any]:
        """One pruning by the stage, scored on the test split; its ONNX file is kept beside the figures."""

        def compute(folder: Path) -> dict[str, Any]:
            context = Context(self.data, Classification(), folder, folder / "cache", seed=seed, device="cpu")
            outcome = Prune(**fields, timing_seconds=0.0).run(Candidate(self.data.spec, module), context)
            made = outcome.candidate.network()
            export_onnx(made, self.data.spec, self.out / f"{name}.onnx")
            found = {key: value.value for key, value in outcome.results.items()}
            macs = count_network(made, self.data.spec).macs
            return {"correct": correct(made, self.data), "macs": macs, "results": found, "notes": outcome.notes}

        return self.unit(name, compute)


def _missing(_: Path) -> dict[str, Any]:
    msg = "this unit was to be there"
    raise LookupError(msg)


def gain(ours: np.ndarray, theirs: np.ndarray) -> str:
    """A paired difference in points, with its interval."""
    middle, low, high = (100 * value for value in paired_difference(ours, theirs))
    return f"{middle:+.2f} ({low:+.2f} to {high:+.2f})"


def opened(parser: argparse.ArgumentParser) -> tuple[Bench, argparse.Namespace]:
    """Arguments that all of these benchmarks have, and what they ask for."""
    parser.add_argument("--out", type=Path, required=True, help="folder of finished units, found again by the next call")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--samples", type=int, default=Size.samples)
    parser.add_argument("--train", help="only train these dense networks")
    parser.add_argument("--smoke", action="store_true", help="toy size, one seed: every part in seconds")
    given = parser.parse_args()
    size = SMOKE if given.smoke else Size(samples=given.samples)
    seeds = (0,) if given.smoke else tuple(int(seed) for seed in given.seeds.split(","))
    settings = DataSettings(source="glyphs", image_size=32, samples=size.samples, test=size.test, views=1, augment="none")
    bench = Bench(given.out, size, load_data(settings, base=Path.cwd()), seeds)
    if given.train:
        for name in given.train.split(","):
            for seed in seeds:
                bench.dense(name, seed)
        parser.exit()
    return bench, given
