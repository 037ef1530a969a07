"""What quantization costs in accuracy on `glyphs`, and what each rung of the ladder gives back. Speed has a bench of its own.

    python tests/benchmarks/bench_quantization_accuracy.py --out DIR [--parts w8a8,equalize,w4a8,mixed,cost] [--smoke]

Parts: `w8a8`: six networks by the stage with its defaults; `equalize`: channels rescaled by 1/100 to 100 without changing the
function, per-tensor W8A8 with and without equalization; `w4a8`: MobileNetV2 and MobileNetV3-Large with 4-bit weights per
channel, up the ladder; `mixed`: the search for layers to keep in float against all subsets of a small network's layers; `cost`:
time and memory of the ladder on ResNet-50 at 224, beside those of training it. Accuracy is that of the file under ONNX Runtime,
on test images of fonts that training never saw. Each finished unit is a JSON file in DIR, found again by the next call; an
interrupted training goes on at its last epoch. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torchvision
from torch import nn
from torchvision.models.vision_transformer import ConvStemConfig

from compress import graphs
from compress.data.settings import DataSettings
from compress.data.sources import load
from compress.data.splits import Data
from compress.export.onnx import export_onnx
from compress.files import write_text
from compress.methods import find
from compress.models.settings import ModelSettings
from compress.models.sources import build
from compress.progress import Silent
from compress.quantize.attempts import Attempts
from compress.quantize.compare import scores_of
from compress.quantize.equalize import pairs_of
from compress.quantize.layers import weight_of, with_weights
from compress.quantize.mixed import search
from compress.quantize.samples import choose
from compress.quantize.settings import Calibration, Ladder
from compress.quantize.stage import Quantize
from compress.quantize.static import prepare
from compress.quantize.targets import saturates
from compress.record import InputSpec
from compress.stage import Candidate, Context
from compress.statistics import paired_difference
from compress.tasks.classification import Classification
from compress.train.loop import fit
from compress.train.settings import Training

VIT = {"patch_size": 8, "num_layers": 4, "num_heads": 4, "hidden_dim": 128, "mlp_dim": 512}
STEM = ((24, 3, 2), (48, 3, 2), (96, 3, 2))
"""Convolutions before the ViT's patches, which it needs to learn anything from so few images: arXiv:2106.14881."""
NETWORKS = {
    "MobileNetV2": ("mobilenet_v2", True),
    "MobileNetV3-Large": ("mobilenet_v3_large", True),
    "ResNet-18": ("resnet18", False),
    "RegNetY-400MF": ("regnet_y_400mf", True),
    "EfficientNet-B0": ("efficientnet_b0", False),
    "ViT": ("vit", False),
}
"""Name → torchvision's, and whether it has the stem for small images: where a step of training stays under half a second."""
FOUR_BITS = ("MobileNetV2", "MobileNetV3-Large")
SKEWED = ("ResNet-18", "RegNetY-400MF")
FACTOR = 100.0
W4 = {"bits": 4}
LADDERS: dict[str, dict[str, Any]] = {
    "nearest": {"weights": W4},
    "nearest, bias correction": {"weights": W4, "bias_correction": "empirical"},
    "gptq, mse steps, bias correction": {
        "weights": {**W4, "range": "mse", "rounding": "gptq"},
        "bias_correction": "empirical",
    },
    "adaround": {"weights": {**W4, "rounding": "adaround"}},
    "adaround, bias correction": {"weights": {**W4, "rounding": "adaround"}, "bias_correction": "empirical"},
    "adaround, mse steps, bias correction": {
        "weights": {**W4, "range": "mse", "rounding": "adaround"},
        "bias_correction": "empirical",
    },
}
"""Rungs with 4-bit weights, lowest first; a rung that this version has not is a row to add here."""


@dataclass(frozen=True)
class Size:
    """How much of everything: images drawn, test images for each of them, epochs, calibration images, steps of rounding."""

    samples: int = 6_000
    test: float = 0.4
    epochs: int = 12
    calibration: int = 512
    iterations: int | None = None
    side: int = 224
    batch: int = 32


SMOKE = Size(samples=310, epochs=1, calibration=16, iterations=5, side=32, batch=4)


def network(name: str, data: Data) -> nn.Module:
    """Fresh weights."""
    source, small = NETWORKS[name]
    if source == "vit":
        torch.manual_seed(0)
        stem = [ConvStemConfig(*one) for one in STEM]
        classes = len(data.spec.classes)
        return torchvision.models.VisionTransformer(data.spec.height, num_classes=classes, conv_stem_configs=stem, **VIT).eval()
    return build(ModelSettings(source=f"torchvision:{source}", small_stem=small), data.spec, seed=0, base=Path.cwd()).module


def chain(classes: int) -> nn.Module:
    """Six layers, so that all 64 subsets can be tried."""
    layers: list[nn.Module] = []
    before = 3
    for width, groups in ((16, 1), (16, 16), (32, 1), (32, 32), (64, 1)):
        stride = 2 if groups > 1 or before == 3 else 1
        layers += [nn.Conv2d(before, width, 3, stride, 1, groups=groups), nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes)).eval()


def train(module: nn.Module, data: Data, folder: Path, epochs: int, lr: float) -> nn.Module:
    """Plain training on hard labels, in place."""
    settings = Training(epochs=epochs, batch_size=32, lr=lr, keep="last", warmup=0.15, clip=1.0)
    terms = (find("loss", "task").load()(),)
    fit(module, settings, data=data, task=Classification(), terms=terms, seed=0, folder=folder, device="cpu")
    return module


@dataclass(frozen=True)
class Bench:
    """Units of one run: each is computed once and kept."""

    out: Path
    size: Size
    data: Data
    networks: tuple[str, ...] = tuple(NETWORKS)

    def unit(self, name: str, compute: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """A finished unit's figures, or compute them now."""
        path = self.out / f"{name}.json"
        if not path.exists():
            wall, cpu = time.monotonic(), time.process_time()
            folder = self.out / "work" / name
            folder.mkdir(parents=True, exist_ok=True)
            found = compute(folder)
            spent = {"wall_s": time.monotonic() - wall, "cpu_s": time.process_time() - cpu}
            write_text(path, json.dumps({**found, **spent}))
            shutil.rmtree(folder, ignore_errors=True)
            print(f"{name}: {spent['wall_s']:.0f} s, of them {spent['cpu_s']:.0f} s of processor", file=sys.stderr, flush=True)
        found = json.loads(path.read_text())
        assert isinstance(found, dict)
        return found

    def dense(self, name: str) -> Path:
        """The trained network's float file."""
        path = self.out / f"float-{name}.onnx"
        module = chain(len(self.data.spec.classes)) if name == "chain" else network(name, self.data)

        def compute(folder: Path) -> dict[str, Any]:
            vit = name == "ViT"  # it learns slowly
            train(module, self.data, folder, self.size.epochs * 5 // 2 if vit else self.size.epochs, 1e-3 if vit else 2e-3)
            export_onnx(module, self.data.spec, path)
            return {}

        self.unit(f"dense-{name}", compute)
        return path

    def floats(self, source: Path) -> dict[str, Any]:
        """What a float file answers on the test split."""

        def compute(_: Path) -> dict[str, Any]:
            correct, answers = self.correct(source)
            return {"correct": correct.tolist(), "answers": answers.tolist()}

        return self.unit(f"answers-{source.stem}", compute)

    def correct(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """1 for each test image that is right, and each one's answer."""
        outputs, targets = graphs.outputs_of(path, self.data.test)
        return scores_of(Classification(), outputs, targets), outputs.argmax(1)

    def quantized(self, name: str, source: Path, fields: dict[str, Any]) -> dict[str, Any]:
        """One quantization by the stage, scored on the test split beside its float parent."""

        def compute(folder: Path) -> dict[str, Any]:
            task = Classification()
            context = Context(self.data, task, folder, folder / "cache", device="cpu", to_onnx=lambda _: source)
            outcome = Quantize(**fields, gate=None).run(Candidate(self.data.spec), context)
            after, found = self.correct(outcome.candidate.files["onnxruntime"])
            before = self.floats(source)
            return {
                "correct": after.tolist(),
                "float": before["correct"],
                "agreement": float((np.array(before["answers"]) == found).mean()),
                "results": {key: value.model_dump(mode="json") for key, value in outcome.results.items()},
                "notes": outcome.notes,
            }

        return self.unit(name, compute)


def drop(found: dict[str, Any]) -> tuple[float, str]:
    """Points lost, and the cell that says so with the paired interval."""
    lost, low, high = paired_difference(found["float"], found["correct"])
    return 100 * lost, f"{100 * lost:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def w8a8(bench: Bench) -> None:
    """Six networks by default."""
    print("\n| network | float | W8A8 | points lost (95 %) | agreement | worst layer | goal: ≤ 0.3 and ≥ 99 % |")
    print("|---|---|---|---|---|---|---|")
    for name in bench.networks:
        found = bench.quantized(f"w8a8-{name}", bench.dense(name), {})
        lost, cell = drop(found)
        worst = found["results"]["sqnr_worst_layer_db"]
        met = lost <= 0.3 and found["agreement"] >= 0.99
        print(
            f"| {name} | {np.mean(found['float']):.2%} | {np.mean(found['correct']):.2%} | {cell} | {found['agreement']:.2%} | "
            f"{worst['value']:.1f} dB | {'met' if met else 'missed'} |"
        )


def skewed(source: Path, path: Path) -> float:
    """Write the network with channels of each pair rescaled; the largest change of an answer, of the largest answer."""
    model = graphs.load(source)
    random = np.random.default_rng(0)
    values: dict[str, np.ndarray] = {}
    for pair in pairs_of(model)[0]:
        first, second = pair.first, pair.second
        w1, w2 = (values.get(one.weight, weight_of(model, one.weight)) for one in (first, second))
        s = FACTOR ** random.uniform(-1, 1, w1.shape[first.axis]).astype(np.float32)
        values[first.weight] = w1 * s.reshape(-1, *[1] * (w1.ndim - 1))
        if first.bias:
            values[first.bias] = values.get(first.bias, weight_of(model, first.bias)) * s
        each = s.reshape(second.groups, 1, -1)  # inputs of a group's outputs
        grouped = w2.reshape(second.groups, -1, *w2.shape[1:]) / each[..., *[None] * (w2.ndim - 2)]
        values[second.weight] = grouped.reshape(w2.shape)
    made = with_weights(model, values)
    graphs.save(made, path)
    x = np.random.default_rng(1).normal(
        size=(16, *(one.dim_value for one in model.graph.input[0].type.tensor_type.shape.dim[1:]))
    )
    before, after = (graphs.run(graphs.session(one), x.astype(np.float32)) for one in (model, made))
    return float(np.abs(before - after).max() / np.abs(before).max())


def equalize(bench: Bench) -> None:
    """Per-tensor W8A8 of rescaled networks."""
    print(
        "\n| network, W8A8 per tensor | float | as trained | rescaled | rescaled, equalized: points lost (95 %) | goal: ≤ 0.5 |"
    )
    print("|---|---|---|---|---|---|")
    for name in [one for one in SKEWED if one in bench.networks]:
        source, path = bench.dense(name), bench.out / f"skewed-{name}.onnx"
        if not path.exists():
            change = skewed(source, path)
            print(f"{name}: rescaling changes answers by {change:.1e} at most", file=sys.stderr)
        plain = bench.quantized(f"tensor-{name}", source, {"per_channel": False})
        broken = bench.quantized(f"skewed-{name}", path, {"per_channel": False})
        healed = bench.quantized(f"healed-{name}", path, {"per_channel": False, "ladder": {"equalize": True}})
        lost, cell = drop(healed)
        print(
            f"| {name} | {np.mean(plain['float']):.2%} | {np.mean(plain['correct']):.2%} | {np.mean(broken['correct']):.2%} | "
            f"{np.mean(healed['correct']):.2%}: {cell} | {'met' if lost <= 0.5 else 'missed'} |"
        )


def w4a8(bench: Bench) -> None:
    """4-bit weights, rung by rung."""
    for name in [one for one in FOUR_BITS if one in bench.networks]:
        print(f"\n| {name}, W4A8 per channel | accuracy | points lost (95 %) | of nearest's loss | agreement | processor s |")
        print("|---|---|---|---|---|---|")
        source, rows = bench.dense(name), {}
        for label, ladder in LADDERS.items():
            weights = dict(ladder["weights"])
            if bench.size.iterations is not None and weights.get("rounding") == "adaround":
                weights["iterations"] = bench.size.iterations
            fields = {"ladder": {**ladder, "weights": weights}}
            found = bench.quantized(f"w4a8-{name}-{label.replace(', ', '-').replace(' ', '_')}", source, fields)
            rows[label], cell = drop(found)
            print(
                f"| {label} | {np.mean(found['correct']):.2%} | {cell} | {rows[label] / max(rows['nearest'], 1e-9):.0%} | "
                f"{found['agreement']:.2%} | {found['cpu_s']:.0f} |"
            )
        last = list(rows.values())[-1]
        met = last <= 1.0 and last <= rows["nearest"] / 2
        print(f"\n{name}: {last:.2f} points lost at the end of this ladder, goal at most 1 and half of nearest's: {met}")


def mixed(bench: Bench) -> None:
    """The search against every subset."""
    print(
        "\n| six layers, weights | all quantized: points lost | fewest in float, of 64 subsets | by the search | tried | goal |"
    )
    print("|---|---|---|---|---|---|")
    for bits in (2, 3, 4):
        found = bench.unit(f"mixed-{bits}", lambda folder, bits=bits: _mixed(bench, bits, folder))
        met = "met" if found["kept"] is not None and found["kept"] <= found["fewest"] else "missed"
        print(f"| {bits} bits | {100 * found['all']:.2f} | {found['fewest']} | {found['kept']} | {found['tried']} | {met} |")


def _mixed(bench: Bench, bits: int, folder: Path) -> dict[str, Any]:
    model = graphs.load(bench.dense("chain"))
    images = choose(bench.data.train, 256, classes=len(bench.data.spec.classes), seed=0)
    ladder = Ladder.model_validate({"weights": {"bits": bits}})
    static = prepare(
        model, [images], ("onnxruntime",), Calibration(), ladder, per_channel=True, symmetric=None, saturating=saturates(),
        exclude=(), reporter=Silent(),
    )  # fmt: skip
    attempts = Attempts(static, (), bench.data.spec, Context(bench.data, Classification(), folder, folder))
    drops = {
        subset: attempts.attempt(subset)[0]
        for count in range(len(attempts.layers) + 1)
        for subset in itertools.combinations(attempts.layers, count)
    }
    order = {frozenset(subset): value for subset, value in drops.items()}
    found = search(
        attempts.layers, lambda floats: (order[frozenset(floats)], attempts.attempt(floats)[1]), budget=0.002, seconds=600
    )
    return {
        "all": drops[()],
        "fewest": min(len(subset) for subset, value in drops.items() if value <= 0.002),
        "kept": len(found.floats) if found.holds else None,
        "tried": found.tried,
    }


LIMITS = 180.0, 1.5
STEPS = {"equalize": True, "weights": {"range": "mse", "rounding": "gptq"}, "bias_correction": "empirical"}


def cost(bench: Bench) -> None:
    """ResNet-50, each in a fresh process on two threads."""
    print("\n| ResNet-50 | wall s | processor s | peak resident MB |\n|---|---|---|---|")
    rows = {}
    for what in ("train", "gptq"):
        rows[what] = bench.unit(f"cost-{what}", lambda _, what=what: _fresh(bench, what))
        one = rows[what]
        print(f"| {what} | {one['wall']:.0f} | {one['cpu']:.0f} | {one['peak'] / 2**20:.0f} |")
    one, ratio = rows["gptq"], rows["gptq"]["peak"] / rows["train"]["peak"]
    print(f"\nto rung 3: {one['wall']:.0f} s (goal {LIMITS[0]:.0f}), {ratio:.2f} × training's memory (goal {LIMITS[1]})")


def _fresh(bench: Bench, what: str) -> dict[str, Any]:
    """Run `measured` in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--out",
        str(bench.out),
        "--measure",
        what,
        *(["--smoke"] if bench.size is SMOKE else []),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def measured(what: str, size: Size, out: Path) -> None:
    """Two steps of training, or the ladder and ranges; prints time and peak resident memory as JSON."""
    torch.set_num_threads(2)
    spec = InputSpec(
        channels=3, height=size.side, width=size.side, mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple(map(str, range(1000)))
    )  # fmt: skip
    path = out / "resnet50.onnx"
    torch.manual_seed(0)
    module = torchvision.models.resnet50()
    if what == "train":
        export_onnx(module.eval(), spec, path)
    images = np.random.default_rng(0).normal(size=(size.calibration, *spec.shape)).astype(np.float32)
    wall, cpu = time.monotonic(), time.process_time()
    if what == "train":
        optimizer = torch.optim.AdamW(module.train().to(memory_format=torch.channels_last).parameters())
        for _ in range(2):
            optimizer.zero_grad()
            module(torch.from_numpy(images[: size.batch])).logsumexp(1).sum().backward()
            optimizer.step()
    else:
        weights = {**STEPS["weights"], "rounding": what} | (
            {"iterations": size.iterations} if what == "adaround" and size.iterations else {}
        )
        batches = [images[start : start + 8] for start in range(0, len(images), 8)]
        prepare(
            graphs.load(path), batches, ("onnxruntime",), Calibration(samples=size.calibration),
            Ladder.model_validate({**STEPS, "weights": weights}), per_channel=True, symmetric=None, saturating=saturates(),
            exclude=(), reporter=Silent(),
        )  # fmt: skip
    spent = {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps({**spent, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def main() -> None:
    """Compute what is missing and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", default="w8a8,equalize,w4a8,mixed,cost")
    parser.add_argument("--train", help="only train these networks")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--smoke", action="store_true", help="toy size: every part in seconds")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    size = SMOKE if given.smoke else Size()
    if given.measure:
        measured(given.measure, size, given.out)
        return
    torch.set_num_threads(1)
    settings = DataSettings(
        source="glyphs", image_size=32, samples=size.samples, validation=0.15, test=size.test, views=1, augment="none"
    )
    bench = Bench(given.out, size, load(settings, base=Path.cwd()), tuple(given.networks.split(",")))
    if given.train:
        for name in given.train.split(","):
            bench.dense(name)
        return
    print(f"torch {torch.__version__}, onnx {onnx.__version__}, {size}\n")
    parts = {"w8a8": w8a8, "equalize": equalize, "w4a8": w4a8, "mixed": mixed, "cost": cost}
    for part in given.parts.split(","):
        parts[part](bench)


if __name__ == "__main__":
    main()
