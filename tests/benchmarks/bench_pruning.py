"""Pruning on `glyphs` against torch-pruning's own magnitude recipe with plain fine-tuning, for as many training steps.

    python tests/benchmarks/bench_pruning.py --out DIR [--parts channel,weight,latency,choosing] [--seeds 0,1,2] [--smoke]

Parts: `channel`: MobileNetV2, ResNet-18 and a ViT to 1/2 and 1/4 of their MACs; `weight`: ResNet-18 at 90 % unstructured
sparsity by RigL and by magnitude with rewinding, and SynFlow at 99 %; `latency`: importance per millisecond against MACs alone;
`choosing`: what everything but the recovery costs on ResNet-50. Each finished unit is a JSON file in DIR, found again by the
next call. Prints Markdown tables of what is there.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
import torchvision
from torch import nn

from compress.data.settings import DataSettings
from compress.data.sources import load
from compress.data.splits import Data
from compress.files import write_text
from compress.methods import find
from compress.models.counts import count
from compress.models.settings import ModelSettings
from compress.models.sources import build
from compress.prune.stage import Prune
from compress.stage import Candidate, Context
from compress.statistics import paired_difference
from compress.tasks.classification import Classification
from compress.train.evaluate import outputs_of
from compress.train.loop import fit
from compress.train.settings import Training

NETWORKS = ("mobilenet_v2", "resnet18", "vit")
KEPT = (0.5, 0.25)
LOST = {0.5: 0.005, 0.25: 0.015}
VIT = {"patch_size": 4, "num_layers": 4, "num_heads": 4, "hidden_dim": 128, "mlp_dim": 512}


@dataclass(frozen=True)
class Size:
    """How much of everything: images, and epochs of the dense training, of recovery in all, and of sparse training."""

    samples: int = 10_000
    test: float = 0.3
    dense: int = 10
    recovery: int = 8
    steps: int = 4
    sparse: int = 12
    rounds: int = 4


SMOKE = Size(samples=310, dense=1, recovery=1, steps=1, sparse=1, rounds=1)


def network(name: str, data: Data, seed: int) -> nn.Module:
    """Fresh weights; ResNets and MobileNets with the stem for small images where that is affordable."""
    if name == "vit":
        torch.manual_seed(seed)
        return torchvision.models.VisionTransformer(data.spec.height, num_classes=len(data.spec.classes), **VIT).eval()
    settings = ModelSettings(source=f"torchvision:{name}", small_stem=name == "mobilenet_v2")
    return build(settings, data.spec, seed=seed, base=Path.cwd()).module


def correct(module: nn.Module, data: Data) -> list[int]:
    """1 for each test sample that is right."""
    outputs, targets = outputs_of(module, data.test)
    return [int(value) for value in Classification().correct(outputs, targets)]


def train(module: nn.Module, data: Data, seed: int, folder: Path, *, epochs: int, lr: float, label: str) -> nn.Module:
    """Plain training on hard labels, in place."""
    settings = Training(epochs=epochs, batch_size=64, lr=lr, keep="last")
    terms = (find("loss", "task").load()(),)
    fit(module, settings, data=data, task=Classification(), terms=terms, seed=seed, folder=folder, label=label, device="cpu")
    return module


@dataclass(frozen=True)
class Bench:
    """Units of one run: each is computed once and kept."""

    out: Path
    size: Size
    data: Data

    def unit(self, name: str, compute: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """A finished unit's figures, or compute them now."""
        path = self.out / f"{name}.json"
        if not path.exists():
            began = time.monotonic()
            found = compute(self.out / "work" / name)
            write_text(path, json.dumps({**found, "wall_s": time.monotonic() - began}))
            shutil.rmtree(self.out / "work" / name, ignore_errors=True)
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        return json.loads(path.read_text())

    def dense(self, name: str, seed: int) -> nn.Module:
        """The trained dense network of a seed."""
        module, weights = network(name, self.data, seed), self.out / f"dense-{name}-{seed}.pt"

        def compute(folder: Path) -> dict[str, Any]:
            train(module, self.data, seed, folder, epochs=self.size.dense, lr=2e-3, label="dense")
            torch.save(module.state_dict(), weights)
            return {"correct": correct(module, self.data), "macs": count(module, self.data.spec).macs}

        self.unit(f"dense-{name}-{seed}", compute)
        module.load_state_dict(torch.load(weights, weights_only=True))
        return module

    def prune(self, module: nn.Module, seed: int, folder: Path, **fields: Any) -> dict[str, Any]:
        """One pruning by the stage, scored on the test split."""
        context = Context(self.data, Classification(), folder, folder / "cache", seed=seed, device="cpu")
        outcome = Prune(**fields).run(Candidate(self.data.spec, module), context)
        made = outcome.candidate.network()
        found = {name: value.value for name, value in outcome.results.items()}
        macs = count(made, self.data.spec).macs
        return {"correct": correct(made, self.data), "macs": macs, "results": found, "notes": outcome.notes}

    def recovery(self, steps: int) -> dict[str, Any]:
        """Recovery in all as long as the baseline's fine-tuning."""
        return {"epochs": max(1, self.size.recovery // steps), "batch_size": 64, "lr": 2e-3, "keep": "last"}


def baseline(bench: Bench, name: str, seed: int, kept: float, folder: Path) -> dict[str, Any]:
    """torch-pruning: group magnitude, global, one shot to the same MACs; then fine-tuning on hard labels."""
    dense = bench.dense(name, seed)
    x = torch.ones(1, *bench.data.spec.shape)
    macs = count(dense, bench.data.spec).macs
    low, high, best = 0.0, 1.0, dense
    for _ in range(9):
        ratio = (low + high) / 2
        made = copy.deepcopy(dense)
        heads = [part for part in made.modules() if isinstance(part, nn.Linear) and part.out_features == 62]
        attention = {part: part.num_heads for part in made.modules() if isinstance(part, nn.MultiheadAttention)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a ViT's class token and position embedding are cut with the channels
            pruner = tp.pruner.BasePruner(
                made,
                x,
                importance=tp.importance.GroupMagnitudeImportance(p=2),
                pruning_ratio=ratio,
                global_pruning=True,
                ignored_layers=heads,
                num_heads=attention,
            )
            pruner.step()
        if count(made, bench.data.spec).macs <= kept * macs:
            high, best = ratio, made
        else:
            low = ratio
    for parameter in best.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    train(best, bench.data, seed, folder, epochs=bench.size.recovery, lr=2e-3, label="fine-tuning")
    return {"correct": correct(best, bench.data), "macs": count(best, bench.data.spec).macs}


def channel(bench: Bench, seeds: list[int]) -> None:
    """Both arms at both ratios."""
    print("\n| network | MACs kept | dense | ours | torch-pruning | lost, ours | gain over it (95 %) | speed-up | efficiency |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in NETWORKS:
        for kept in KEPT:
            rows = [_channel_row(bench, name, seed, kept) for seed in seeds]
            dense, ours, theirs = (np.concatenate([np.array(row[arm]["correct"]) for row in rows]) for arm in range(3))
            gain, low, high = paired_difference(ours, theirs)
            lost = dense.mean() - ours.mean()
            goal = "met" if lost <= LOST[kept] and (kept > 0.25 or low > 0) else "missed"
            ratio = statistics.mean(row[1]["macs"] / row[0]["macs"] for row in rows)
            timed = [row[1]["results"] for row in rows]
            speed, efficiency = (
                statistics.median(found.get(key) or float("nan") for found in timed)
                for key in ("pruning_speedup", "speedup_efficiency")
            )
            print(
                f"| {name} | {ratio:.3f} | {dense.mean():.2%} | {ours.mean():.2%} | {theirs.mean():.2%} | "
                f"{100 * lost:.2f} points ({goal}) | {100 * gain:.2f} ({100 * low:.2f} to {100 * high:.2f}) | "
                f"{speed:.2f} | {efficiency:.2f} |"
            )


def _channel_row(bench: Bench, name: str, seed: int, kept: float) -> tuple[dict[str, Any], ...]:
    module = bench.dense(name, seed)
    fields = {
        "importance": "taylor",
        "target": {"macs": kept},
        "schedule": {"kind": "cubic", "steps": bench.size.steps},
        "recover": bench.recovery(bench.size.steps),
    }
    ours = bench.unit(f"ours-{name}-{seed}-{kept}", lambda folder: bench.prune(module, seed, folder, **fields))
    theirs = bench.unit(f"tp-{name}-{seed}-{kept}", lambda folder: baseline(bench, name, seed, kept, folder))
    return bench.unit(f"dense-{name}-{seed}", lambda _: {}), ours, theirs


def weight(bench: Bench, seeds: list[int]) -> None:
    """Sparse training from scratch and lottery tickets at 90 %, SynFlow at 99 %."""
    own = {"batch_size": 64, "lr": 2e-3, "keep": "last", "teacher": "none"}
    common = {"granularity": "weight", "recover": {**own, "epochs": bench.size.sparse}}
    every = max(1, bench.data.train.batches(64) // 4)
    ways: dict[str, dict[str, Any]] = {
        "RigL, 90 %": {
            **common,
            "target": {"sparsity": 0.9},
            "schedule": {"kind": "rigl", "every": every},
            "importance": "random",
            "ranking": "erk",
        },
        "magnitude with rewinding, 90 %": {
            **common,
            "target": {"sparsity": 0.9},
            "schedule": {"kind": "lottery", "steps": bench.size.rounds, "rewind": every},
            "recover": {**own, "epochs": bench.size.dense},
        },
        "SynFlow, 99 %": {
            **common,
            "target": {"sparsity": 0.99},
            "schedule": {"kind": "one_shot"},
            "importance": "synflow",
            "max_ratio": 0.9995,
        },
    }
    print("\n| ResNet-18, from fresh weights | sparsity | accuracy | against dense (95 %) |\n|---|---|---|---|")
    for label, fields in ways.items():
        found, dense = [], []
        for seed in seeds:
            bench.dense("resnet18", seed)
            fresh = network("resnet18", bench.data, seed)
            name = f"{label.split(',')[0].split()[0].lower()}-resnet18-{seed}"
            found.append(bench.unit(name, lambda folder, s=seed, net=fresh, f=fields: bench.prune(net, s, folder, **f)))
            dense += bench.unit(f"dense-resnet18-{seed}", lambda _: {})["correct"]
        ours = np.concatenate([np.array(one["correct"]) for one in found])
        gain, low, high = paired_difference(ours, np.array(dense))
        sparsity = statistics.mean(one["results"]["sparsity"] for one in found)
        print(
            f"| {label} | {sparsity:.3f} | {ours.mean():.2%} | {100 * gain:.2f} ({100 * low:.2f} to {100 * high:.2f}) points |"
        )


def latency(bench: Bench, seeds: list[int]) -> None:
    """The same target and training, channels ranked with and without their time."""
    print("\n| network | ranked by | accuracy | MACs kept | time against dense |\n|---|---|---|---|---|")
    for name in ("mobilenet_v2", "resnet18"):
        for aware in (False, True):
            rows = []
            for seed in seeds:
                module = bench.dense(name, seed)
                fields = {
                    "importance": "taylor",
                    "target": {"macs": 0.5},
                    "per_millisecond": aware,
                    "schedule": {"kind": "cubic", "steps": bench.size.steps},
                    "recover": bench.recovery(bench.size.steps),
                }
                unit = f"{'aware' if aware else 'ours'}-{name}-{seed}-0.5"
                rows.append(bench.unit(unit, lambda folder, m=module, s=seed, f=fields: bench.prune(m, s, folder, **f)))
            accuracy = np.mean([np.mean(row["correct"]) for row in rows])
            macs = [
                row["macs"] / bench.unit(f"dense-{name}-{seed}", lambda _: {})["macs"]
                for row, seed in zip(rows, seeds, strict=True)
            ]
            spent = statistics.median(1 / row["results"]["pruning_speedup"] for row in rows)
            how = "loss change per millisecond" if aware else "loss change"
            print(f"| {name} | {how} | {accuracy:.2%} | {statistics.mean(macs):.3f} | {spent:.3f} |")


def choosing(bench: Bench) -> None:
    """ResNet-50: everything but recovery, beside one short recovery scaled to the default length on 40,000 images."""
    module = network("resnet50", bench.data, 0)

    def compute(folder: Path) -> dict[str, Any]:
        fields = {"importance": "taylor", "target": {"macs": 0.5}, "schedule": {"kind": "cubic", "steps": bench.size.steps}}
        began = time.monotonic()
        bench.prune(module, 0, folder / "choosing", **fields, recover={"epochs": 0, "batch_size": 64})
        spent = time.monotonic() - began
        train(copy.deepcopy(module), bench.data, 0, folder / "once", epochs=1, lr=1e-3, label="once")
        one = (time.monotonic() - began - spent) / bench.data.train.batches(64)
        return {"choosing_s": spent, "recovery_s": one * 40_000 / 64 * 2 * bench.size.steps}

    found = bench.unit("choosing-resnet50", compute)
    share = found["choosing_s"] / found["recovery_s"]
    print(
        f"\nResNet-50: choosing {found['choosing_s']:.0f} s, {share:.1%} of {found['recovery_s']:.0f} s of recovery (goal: 5 %)"
    )


def main() -> None:
    """Compute what is missing and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", default="channel,weight,latency,choosing")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--samples", type=int, default=Size.samples)
    parser.add_argument("--smoke", action="store_true", help="toy size, one seed: every part in seconds")
    given = parser.parse_args()
    size = SMOKE if given.smoke else Size(samples=given.samples)
    seeds = [0] if given.smoke else [int(seed) for seed in given.seeds.split(",")]
    settings = DataSettings(source="glyphs", image_size=32, samples=size.samples, test=size.test, views=1, augment="none")
    bench = Bench(given.out, size, load(settings, base=Path.cwd()))
    parts: dict[str, Callable[[], None]] = {
        "channel": lambda: channel(bench, seeds),
        "weight": lambda: weight(bench, seeds),
        "latency": lambda: latency(bench, seeds),
        "choosing": lambda: choosing(bench),
    }
    for part in given.parts.split(","):
        parts[part]()


if __name__ == "__main__":
    main()
