"""Pruning on `glyphs`, compared with torch-pruning's magnitude recipe and plain fine-tuning at equal numbers of training steps.

    python tests/benchmarks/bench_pruning.py --out DIR [--parts channel,latency,time,choosing] [--seeds 0,1,2] [--smoke]

Parts: `channel`: MobileNetV2, ResNet-18 and a ViT pruned to 1/2 and 1/4 of their MACs; `show`: the table of finished results;
`latency`: loss change per millisecond compared with loss change per MAC; `time`: latency of the networks of both in ONNX
Runtime, one thread, batch 1, each interleaved with its dense network; `choosing`: cost of everything except fine-tuning on
ResNet-50. DIR stores each finished unit as JSON, which the next call reuses. Prints Markdown tables of the finished units.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from glyph_networks import BATCH, LR, Bench, correct, gain, network, opened, train
from torch import nn

from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.core.statistics import paired_difference
from compress.models.count_macs import count_network
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import time_runners

NETWORKS = ("mobilenet_v2", "resnet18", "vit")
KEPT = (0.5, 0.25)
AWARE = ("mobilenet_v2", "resnet18")
ARMS = (("dense", ""), ("ours", "-0.5"), ("aware", ""))
LESS = 0.9
LOST = {0.5: 0.005, 0.25: 0.015}


def ours(bench: Bench, name: str, seed: int, kept: float) -> dict[str, Any]:
    """Our recipe: gates' importance against what a channel costs, at once, recovered by imitating the dense parent."""
    return _pruned(bench, f"ours-{name}-{seed}-{kept}", name, seed, {"macs": kept})


def aware(bench: Bench, name: str, seed: int) -> dict[str, Any]:
    """The same against milliseconds, to `LESS` of the time that half the multiply-accumulates take."""

    def fraction(_: Path) -> dict[str, Any]:
        dense, made = _session(bench, [f"dense-{name}-{seed}", f"ours-{name}-{seed}-0.5"])
        return {"fraction": made / dense}

    found = bench.unit(f"time-{name}-{seed}-0.5", fraction)["fraction"]
    return _pruned(bench, f"aware-{name}-{seed}", name, seed, {"latency": LESS * found}, cost_aware="latency")


def _pruned(bench: Bench, unit: str, name: str, seed: int, target: dict[str, float], **fields: Any) -> dict[str, Any]:
    recovery = {
        "epochs": bench.size.recovery[name],
        "batch_size": BATCH,
        "lr": LR.get(name, 2e-3),
        "keep": "last",
        "warmup": 0.15,
        "clip": 1.0,
    }
    return bench.prune(
        unit,
        bench.dense(name, seed),
        seed,
        importance="fisher",
        target=target,
        schedule={"kind": "one_shot"},
        recover=recovery,
        **fields,
    )


def baseline(bench: Bench, name: str, seed: int, kept: float) -> dict[str, Any]:
    """torch-pruning: group magnitude, global, one shot to the same MACs; then fine-tuning on hard labels."""
    dense = bench.dense(name, seed)

    def compute(folder: Path) -> dict[str, Any]:
        best = _one_shot(dense, bench, kept)
        train(best, bench.data, seed, folder, epochs=bench.size.recovery[name], lr=LR.get(name, 2e-3), label="fine-tuning")
        return {"correct": correct(best, bench.data), "macs": count_network(best, bench.data.spec).macs}

    return bench.unit(f"tp-{name}-{seed}-{kept}", compute)


def _one_shot(dense: nn.Module, bench: Bench, kept: float) -> nn.Module:
    """The smallest ratio with which torch-pruning reaches the MACs, by halving; the smallest network where none does."""
    x = torch.ones(1, *bench.data.spec.shape)
    macs, classes = count_network(dense, bench.data.spec).macs, len(bench.data.spec.classes)
    low, high, best, least = 0.0, 1.0, dense, macs
    for _ in range(9):
        ratio = (low + high) / 2
        made = copy.deepcopy(dense)
        heads = [part for part in made.modules() if isinstance(part, nn.Linear) and part.out_features == classes]
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
        if (left := count_network(made, bench.data.spec).macs) <= kept * macs:
            high, best, least = ratio, made, left
        else:
            low = ratio
            if high == 1.0 and left < least:
                best, least = made, left
    for parameter in best.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return best


def channel(bench: Bench) -> None:
    """Both arms at both ratios, one seed of all networks after the other."""
    for seed in bench.seeds:
        for name in NETWORKS:
            for kept in KEPT:
                ours(bench, name, seed, kept)
                baseline(bench, name, seed, kept)
    show(bench)


def show(bench: Bench) -> None:
    """The table of what is there."""
    print(
        "\n| network | MACs kept, ours | theirs | dense | ours | torch-pruning | lost, ours | gain over it (95 %) | by seed |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in NETWORKS:
        for kept in KEPT:
            if row := _channel_row(bench, name, kept):
                print(row)


def _channel_row(bench: Bench, name: str, kept: float) -> str:
    units = (f"dense-{name}-{{seed}}", f"ours-{name}-{{seed}}-{kept}", f"tp-{name}-{{seed}}-{kept}")
    seeds = bench.complete(*units)
    if not seeds:
        return ""
    dense, mine, theirs = (bench.right(unit, seeds) for unit in units)
    lost, (_, low, _) = dense.mean() - mine.mean(), paired_difference(mine, theirs)
    goal = "met" if lost <= LOST[kept] and (kept > 0.25 or low > 0) else "missed"
    macs = [[bench.unit(unit.format(seed=seed), lambda _: {})["macs"] for seed in seeds] for unit in units]
    shares = [statistics.mean(a / b for a, b in zip(macs[arm], macs[0], strict=True)) for arm in (1, 2)]
    parts = [np.mean(a) - np.mean(b) for a, b in zip(*(np.split(one, len(seeds)) for one in (mine, theirs)), strict=True)]
    return (
        f"| {name} | {shares[0]:.3f} | {shares[1]:.3f} | {dense.mean():.2%} | {mine.mean():.2%} | {theirs.mean():.2%} | "
        f"{100 * lost:+.2f} points ({goal}) | {gain(mine, theirs)} | {', '.join(f'{100 * one:+.1f}' for one in parts)} |"
    )


def latency(bench: Bench) -> None:
    """Channels ranked against milliseconds, to less time than half the multiply-accumulates take, for as many steps."""
    print(
        "\n| network | dense | against MACs | against milliseconds | difference (95 %) | MACs kept | time ÷, each seed | goal |"
        "\n|---|---|---|---|---|---|---|---|"
    )
    for name in AWARE:
        rows = [aware(bench, name, seed) for seed in bench.seeds]
        dense, plain, mine = (bench.right(f"{arm}-{name}-{{seed}}{end}") for arm, end in ARMS)
        whole = [bench.unit(f"dense-{name}-{seed}", lambda _: {})["macs"] for seed in bench.seeds]
        macs = statistics.mean(row["macs"] / one for row, one in zip(rows, whole, strict=True))
        took = [_session(bench, [f"{arm}-{name}-{seed}{end}" for arm, end in ARMS]) for seed in bench.seeds]
        ratios = [one[2] / one[1] for one in took]
        met = paired_difference(mine, plain)[2] >= 0 and max(ratios) < 1
        each = ", ".join(f"{one:.3f}" for one in ratios)
        print(
            f"| {name} | {dense.mean():.2%} | {plain.mean():.2%} | {mine.mean():.2%} | {gain(mine, plain)} | {macs:.3f} | "
            f"{each} | {'met' if met else 'missed'} |"
        )


def timed(bench: Bench) -> None:
    """Time of every file of the parts above, in turns with the others of its network and seed."""
    print(
        "\n| network | loss change against | MACs ÷ | time ÷ (each seed) | median | speed-up efficiency |"
        "\n|---|---|---|---|---|---|"
    )
    for name in NETWORKS:
        arms = [f"ours-{name}-{{seed}}-0.5", f"aware-{name}-{{seed}}", f"ours-{name}-{{seed}}-0.25"]
        arms = [arm for arm in arms if bench.complete(f"dense-{name}-{{seed}}", arm)]
        seeds = bench.complete(f"dense-{name}-{{seed}}", *arms)
        took = [_session(bench, [f"dense-{name}-{seed}", *(arm.format(seed=seed) for arm in arms)]) for seed in seeds]
        for place, arm in enumerate(arms, start=1):
            faster = [one[0] / one[place] for one in took]
            dense, made = ([bench.unit(u.format(seed=s), lambda _: {})["macs"] for s in seeds] for u in
                           (f"dense-{name}-{{seed}}", arm))  # fmt: skip
            ratio = statistics.mean(a / b for a, b in zip(dense, made, strict=True))
            middle = statistics.median(faster)
            how = "milliseconds" if arm.startswith("aware") else "MACs"
            each = ", ".join(f"{one:.2f}" for one in faster)
            print(f"| {name} | {how} | {ratio:.2f} | {each} | {middle:.2f} | {middle / ratio:.2f} |")


def _session(bench: Bench, names: list[str]) -> list[float]:
    """Median latency in ms of each file, all in turns."""
    x = bench.data.test.inputs[:1].numpy() if hasattr(bench.data.test, "inputs") else np.zeros((1, *bench.data.spec.shape))
    with OnnxRuntimeRunner(bench.out / f"{names[0]}.onnx") as first:
        given = next(iter(first.shapes()))
    runners = {name: OnnxRuntimeRunner(bench.out / f"{name}.onnx") for name in names}
    for runner in runners.values():
        runner.__enter__()
    feeds = {name: {given: x.astype(np.float32)} for name in names}
    found = time_runners(runners, feeds, TimingPlan(2.0, 0.3), batch=1)
    for runner in runners.values():
        runner.__exit__(None, None, None)
    return [float(np.median(found[name].milliseconds)) for name in names]


def choosing(bench: Bench) -> None:
    """ResNet-50: everything but recovery, beside one short recovery scaled to the default length on 40,000 images."""
    steps = 4

    def compute(folder: Path) -> dict[str, Any]:
        module = network("resnet50", bench.data, 0)
        began = time.monotonic()
        bench.prune("choosing-only", module, 0, importance="fisher", target={"macs": 0.5},
                    schedule={"kind": "cubic", "steps": steps}, recover={"epochs": 0, "batch_size": BATCH})  # fmt: skip
        spent = time.monotonic() - began
        train(copy.deepcopy(module), bench.data, 0, folder / "once", epochs=1, lr=1e-3, label="once")
        one = (time.monotonic() - began - spent) / bench.data.train.batches(BATCH)
        return {"choosing_s": spent, "recovery_s": one * 40_000 / BATCH * 2 * steps}

    found = bench.unit("choosing-resnet50", compute)
    share = found["choosing_s"] / found["recovery_s"]
    print(
        f"\nResNet-50: choosing {found['choosing_s']:.0f} s, {share:.1%} of {found['recovery_s']:.0f} s of recovery (goal: 5 %)"
    )


def main() -> None:
    """Compute what is missing and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="channel,latency,time,choosing")
    bench, given = opened(parser)
    parts: dict[str, Callable[[Bench], None]] = {
        "channel": channel,
        "show": show,
        "latency": latency,
        "time": timed,
        "choosing": choosing,
    }
    for part in given.parts.split(","):
        parts[part](bench)


if __name__ == "__main__":
    main()
