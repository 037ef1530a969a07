"""Fraction of the MAC reduction of pruning that becomes latency reduction, by channel multiple.

    python tests/benchmarks/bench_pruning_speed.py --out reports/benchmarks/pruning_speed.md

1. ResNet-18 and MobileNetV2 at half and a quarter of their MACs: speed-up efficiency, which is the latency ratio divided by
the MAC
   ratio. Goal: at least 0.75 for ResNet-18 at 2×. Published values of other tools are 0.34 to 0.57.
2. The same cost with channel counts rounded to multiples of 1, 4, 8, 16 and 32.

32×32 inputs, first stride 1, ONNX Runtime, one thread, batch 1; each network is interleaved with its dense network,
`--repeats` times with new exports. Channels are removed by magnitude from random weights, because latency depends on widths,
not on values. Prints Markdown tables; exits with 1 if the goal is missed. Takes about 6 minutes; `--quick` takes under one
and only checks that the script runs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from torch import nn

from compress.config.devices import host
from compress.core.network_spec import image_spec
from compress.models.count_macs import count_network
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.speedup import SpeedupMeter
from compress.prune.structured.channel_multiple import benchmark_multiples, device_multiple
from compress.prune.structured.channels import ChannelPruner

GOAL = 0.75
NETWORKS = ("resnet18", "mobilenet_v2")
SPEC = image_spec(
    channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple(map(str, range(10)))
)  # fmt: skip


def network(name: str) -> nn.Module:
    """The network with a short stem, random weights."""
    return build_model(ModelSettings(source=f"torchvision:{name}", small_stem=True), SPEC, seed=0, base=Path.cwd()).module


def efficiencies(name: str, kept: float, round_to: int, seconds: float, repeats: int) -> tuple[float, list[float], list[float]]:
    """Ratio of the multiply-accumulates, and of each repeat the ratio of the times and the efficiency."""
    dense = network(name)
    pruner = ChannelPruner(dense, SPEC, measure="macs", ranking="global", limits=Constraints(round_to=round_to))
    small = pruner.prune(dense, kept, magnitude()).module
    rows = [SpeedupMeter(dense, SPEC, seconds=seconds).row(small, host()) for _ in range(repeats)]
    ratio = count_network(dense, SPEC).macs / count_network(small, SPEC).macs
    return ratio, [row["measured_speedup"] for row in rows], [row["efficiency"] for row in rows]


def first_table(seconds: float, repeats: int, fractions: tuple[float, ...]) -> tuple[list[str], float]:
    """Rows of the table of efficiencies, and ResNet-18's at 2×."""
    multiple, _ = device_multiple(host())
    lines = [
        f"| network | MACs ÷ | rounded to | time ÷ (median of {repeats}) | efficiency | lowest … highest |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    goal = float("nan")
    for name in NETWORKS:
        for kept in fractions:
            ratio, faster, found = efficiencies(name, kept, multiple, seconds, repeats)
            middle = statistics.median(found)
            lines.append(
                f"| {name} | {ratio:.2f} | {multiple} | {statistics.median(faster):.2f} | {middle:.2f} "
                f"| {min(found):.2f} … {max(found):.2f} |"
            )
            goal = middle if (name, kept) == ("resnet18", 0.5) else goal
    return lines, goal


def second_table(seconds: float) -> list[str]:
    """Rows of the table of roundings."""
    lines = ["| network | rounded to | MACs kept | ms | of the dense time |", "| --- | --- | --- | --- | --- |"]
    for name in NETWORKS:
        dense = network(name)
        watch = SpeedupMeter(dense, SPEC, seconds=seconds)
        _, rows = benchmark_multiples(dense, SPEC, 0.5, watch, measure="macs", ranking="global", limits=Constraints())
        for row in rows:
            if row["latency_ms"] is None:
                lines.append(f"| {name} | {row['round_to']} | {row['note']} | | |")
            else:
                figures = f"{row['macs_ratio']:.2f} | {row['latency_ms']:.3f} | {row['of_dense']:.2f}"
                lines.append(f"| {name} | {row['round_to']} | {figures} |")
    return lines


def main() -> int:
    """Run and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="counted time of each network in each repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, help="also write the tables here")
    given = parser.parse_args()
    seconds, repeats = (0.1, 1) if given.quick else (given.seconds, given.repeats)
    table, goal = first_table(seconds, repeats, (0.5,) if given.quick else (0.5, 0.25))
    verdict = f"ResNet-18 at 2×: efficiency {goal:.2f}, goal {GOAL}: {'met' if goal >= GOAL else 'missed'}"
    text = "\n".join([f"{host().title}, ONNX Runtime, 1 thread, batch 1", "", *table, "", verdict, "", *second_table(seconds)])
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")
    return 0 if given.quick or goal >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
