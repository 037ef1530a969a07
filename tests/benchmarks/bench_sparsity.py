"""Unstructured pruning of ResNet-18 on `glyphs`: RigL and magnitude with rewinding at 90 %, SynFlow at 99 %, compared with
dense.

    python tests/benchmarks/bench_sparsity.py --out DIR [--seeds 0,1,2] [--ways rigl,synflow,magnitude] [--smoke]

Each round of rewinding trains as long as the dense network, RigL once as long as all rounds together (up to five times as
long in its paper), SynFlow as long as the dense network. DIR may be that of `bench_pruning.py`, whose dense networks are
reused. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from glyph_networks import BATCH, Bench, gain, network, opened

GOALS = {"rigl": 0.01, "magnitude": 0.01, "synflow": None}


def ways(bench: Bench) -> dict[str, tuple[str, dict[str, Any]]]:
    """Row by unit name: what it is called, and the fields of the stage."""
    own = {"batch_size": BATCH, "lr": 2e-3, "keep": "last", "teacher": "none"}
    common = {"granularity": "weight", "recover": {**own, "epochs": bench.size.dense["resnet18"]}}
    every = max(1, bench.data.train.batches(BATCH) // 4)
    rigl = {"kind": "rigl", "every": every}
    longer = {**own, "epochs": bench.size.rounds * bench.size.dense["resnet18"]}
    lottery = {"kind": "lottery", "steps": bench.size.rounds, "rewind": every}
    return {
        "rigl": (
            f"RigL, ERK, 90 %, {bench.size.rounds} × as long",
            {
                **common,
                "target": {"sparsity": 0.9},
                "schedule": rigl,
                "importance": "random",
                "ranking": "erk",
                "recover": longer,
            },
        ),
        "magnitude": (
            f"magnitude with rewinding, {bench.size.rounds} rounds, 90 %",
            {**common, "target": {"sparsity": 0.9}, "schedule": lottery},
        ),
        "synflow": (
            "SynFlow, 99 %",
            {
                **common,
                "target": {"sparsity": 0.99},
                "schedule": {"kind": "one_shot"},
                "importance": "synflow",
                "max_ratio": 0.9995,
            },
        ),
    }


def main() -> None:
    """Compute what is missing and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", default="rigl,synflow,magnitude")
    bench, given = opened(parser)
    chosen = {unit: ways(bench)[unit] for unit in given.ways.split(",")}
    for seed in bench.seeds:
        bench.dense("resnet18", seed)
        for unit, (_, fields) in chosen.items():
            bench.prune(f"{unit}-resnet18-{seed}", network("resnet18", bench.data, seed), seed, **fields)
    print("\n| ResNet-18, from fresh weights | seeds | sparsity | dense | accuracy | against dense (95 %) | goal |")
    print("|---|---|---|---|---|---|---|")
    for unit, (title, _) in chosen.items():
        rows = [bench.unit(f"{unit}-resnet18-{seed}", lambda _: {}) for seed in bench.seeds]
        dense, right = bench.right("dense-resnet18-{seed}"), bench.right(f"{unit}-resnet18-{{seed}}")
        goal, sparsity = GOALS[unit], statistics.mean(row["results"]["sparsity"] for row in rows)
        held = right.mean() >= dense.mean() - goal if goal is not None else right.mean() > 5 / len(bench.data.spec.classes)
        told = ("within 1 point" if goal is not None else "no collapse") + (": met" if held else ": missed")
        print(
            f"| {title} | {len(rows)} | {sparsity:.3f} | {dense.mean():.2%} | {right.mean():.2%} | "
            f"{gain(right, dense)} points | {told} |"
        )


if __name__ == "__main__":
    main()
