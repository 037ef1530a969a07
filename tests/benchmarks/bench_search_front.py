"""Fronts of searches on `digits`: `python -m tests.benchmarks.bench_search_front --folder FOLDER [--seeds 3] [--trials 8]`.

For each seed a small convolutional network is trained once; then `tpe` and `random` search the ratio of pruning, its
criterion and the learning rate of recovery, with equally many trials. The front of a search is judged by its hypervolume: the
share of the rectangle between MACs 0 … those of the trained network and accuracy `WORST` … 1 that its trials dominate, on
validation. The default chain is the recipe as it is written; the found one is the trial of `tpe` with the fewest MACs whose
accuracy is at least as high. Last, at the MACs of the chain as it is written, the ceilings of the ratios of layers are
searched, against the one-shot ranking of all channels by `fisher`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from compress.config.devices import host
from compress.pipeline.pipeline import Pipeline
from compress.search.front import TrialRow
from compress.search.search import Search

warnings.filterwarnings("ignore")

NETWORK = """\
from torch import nn

def build(classes: int = 10) -> nn.Module:
    def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())

    return nn.Sequential(block(3, 16, 1), block(16, 32, 2), block(32, 32, 1), block(32, 64, 2), block(64, 64, 1),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))
"""
RECIPE = """\
name: front
seed: 0
data: {source: digits, image_size: 16}
model: {source: "python:network.py:build"}
stages:
  - train: {epochs: 4, batch_size: 16, optimizer: adamw, lr: 0.005, schedule: onecycle}
  - prune:
      importance: fisher
      target: {macs: 0.3}
      max_ratio: {"1*": 0.9, "2*": 0.9, "3*": 0.9, "*": 0.9}
      schedule: {kind: linear, steps: 1}
      round_to: 4
      recover: {teacher: parent, epochs: 1, batch_size: 16, lr: 0.001}
search:
  space:
    stages.prune.target.macs: {low: 0.05, high: 0.9}
    stages.prune.importance: {choice: [magnitude, taylor, fisher]}
    stages.prune.recover.lr: {low: 0.0003, high: 0.02, log: true}
  objectives: [accuracy, macs]
"""
LAYERS = """\
search:
  space:
    stages.prune.max_ratio.1*: {low: 0.3, high: 0.95}
    stages.prune.max_ratio.2*: {low: 0.3, high: 0.95}
    stages.prune.max_ratio.3*: {low: 0.3, high: 0.95}
  objectives: [accuracy]
"""
WORST = 0.5
"""Accuracy below which a trial adds nothing to the hypervolume."""
T_2 = 4.303
"""97.5 % point of the t distribution with two degrees of freedom, for three seeds."""


def hypervolume(points: Sequence[tuple[float, float]], macs: float) -> float:
    """Share of the rectangle that points (accuracy, MACs) dominate."""
    area, reached = 0.0, WORST
    for accuracy, cost in sorted(points, key=lambda point: (point[1], -point[0])):
        if accuracy > reached and cost < macs:
            area += (accuracy - reached) * (1 - cost / macs)
            reached = accuracy
    return area / (1 - WORST)


def points(rows: Sequence[TrialRow]) -> list[tuple[float, float]]:
    """Accuracy and MACs of the finished trials."""
    found = [row.result.objectives for row in rows if row.result is not None]
    return [(float(one["accuracy"].value or 0), float(one["macs"].value or 0)) for one in found]


def points_and_test(rows: Sequence[TrialRow]) -> list[tuple[float, float]]:
    """Accuracy of the finished trials on validation and on test."""
    found = [row.result for row in rows if row.result is not None]
    return [(float(one.objectives["accuracy"].value or 0), float(one.test.value or 0)) for one in found]


def run_seed(folder: Path, seed: int, trials: int, *, layers: bool) -> dict[str, object]:
    """Both searches and the default chain with one seed."""
    (folder / "network.py").write_text(NETWORK)
    recipe = folder / "front.yaml"
    recipe.write_text(RECIPE)
    out, result = folder / "reports", {}
    for engine in ("tpe", "random"):
        changes = [f"name=front_{engine}_{seed}", f"seed={seed}", f"search.engine={engine}", f"search.trials={trials}"]
        start_s = time.process_time()
        rows = Search(recipe, overrides=changes, trust_code=True).run(out=out, device="cpu").rows
        result[engine] = {"points": points(rows), "cpu_s": time.process_time() - start_s,
                          "parameters": [dict(row.parameters) for row in rows]}  # fmt: skip
    run = Pipeline.load(recipe, overrides=[f"seed={seed}"], trust_code=True).run(out=out, device="cpu")
    start, default = run.record.stages[0], run.record.stages[-1]
    result["layers"] = run_layers(folder, seed, trials) if layers else []
    result["fisher_test"] = default.after["accuracy"].value
    result["macs"] = start.after["macs"].value
    result["trained"] = start.after["accuracy_validation"].value
    result["default"] = (default.after["accuracy_validation"].value, default.after["macs"].value)
    return result


def run_layers(folder: Path, seed: int, trials: int) -> list[tuple[float, float]]:
    """The search of the ceilings of layers."""
    recipe = folder / "layers.yaml"
    recipe.write_text(RECIPE.partition("search:")[0] + LAYERS)
    changes = [f"name=layers_{seed}", f"seed={seed}", f"search.trials={trials}"]
    search = Search(recipe, overrides=changes, trust_code=True)
    return points_and_test(search.run(out=folder / "reports", device="cpu").rows)


def accuracy_of(known: Mapping[str, object]) -> str:
    """Accuracy of the chain as it is written, on validation and on test."""
    return f"{known['default'][0]:.3f} validation, {known['fisher_test']:.3f} test"  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of all runs and of front.json; it continues there")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--no-layers", action="store_true", help="leave out the ceilings of layers")
    chosen = parser.parse_args()
    print(f"{host().title}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    gains = []
    for seed in range(chosen.seeds):
        stored = chosen.folder / f"seed-{seed}.json"
        if not stored.exists():
            stored.write_text(json.dumps(run_seed(chosen.folder, seed, chosen.trials, layers=not chosen.no_layers)))
        known = json.loads(stored.read_text())
        volumes = {engine: hypervolume(known[engine]["points"], known["macs"]) for engine in ("tpe", "random")}
        gains.append(volumes["tpe"] - volumes["random"])
        accuracy, macs = known["default"]
        equal = [cost for value, cost in known["tpe"]["points"] if value >= accuracy]
        if known["layers"]:
            best, tested = max(known["layers"])
            fisher = accuracy_of(known)
            print(f"layers, seed {seed}: {best:.3f} validation, {tested:.3f} test; one-shot fisher {fisher}", flush=True)
        print(f"| {seed} | {known['trained']:.3f} | {volumes['tpe']:.3f} | {volumes['random']:.3f} | {accuracy:.3f} at "
              f"{macs / 1e6:.1f} M | {min(equal, default=float('nan')) / 1e6:.1f} M | "
              f"{known['tpe']['cpu_s']:.0f} s, {known['random']['cpu_s']:.0f} s |", flush=True)  # fmt: skip
    if len(gains) == 3:
        half = T_2 * statistics.stdev(gains) / 3**0.5
        print(f"tpe − random: {statistics.mean(gains):+.3f} ± {half:.3f}")


if __name__ == "__main__":
    main()
