"""One recipe with `search:` against a chain of other tools with as many trials: fronts of accuracy and latency.

    python -m tests.benchmarks.bench_search_glue --out DIR [--trials 10] [--parts dense,glue,ours,time,show] [--smoke]

Both start from one trained ResNet-18 on `glyphs`, train `EPOCHS` epochs for each trial with batches of 64, choose on validation
and are judged on test. Ours: `RECIPE`. The other chain: torch-pruning, distillation in a plain loop and `quantize_static`, see
`search_glue_chain`; of its trials the float file and two int8 files count. Part `time` times all files in turns, one thread,
batch 1, with real-time priority where it is allowed. DIR keeps each finished unit, so that the next call continues there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from safetensors.torch import save_file

from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.run_split import run_split
from compress.config.devices import host
from compress.core.statistics import paired_difference, wilson
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.pipeline.pipeline import Pipeline
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import time_runners
from compress.search.search import Search
from compress.tasks.classification import Classification
from tests.benchmarks.glyph_networks import Bench, Size
from tests.benchmarks.search_glue_chain import glue_trials, run_glue

mpl.use("Agg")
warnings.filterwarnings("ignore")

EPOCHS = 3
"""Epochs of training of each trial, of both chains."""
DENSE = 8
DATA = {"source": "glyphs", "image_size": 32, "samples": 10_000, "validation": 0.3, "test": 0.6, "views": 1, "augment": "none"}
LIMITS = {"limit": 6000, "evaluation_limit": 2000}
"""Images of the trials; the dense network is trained on all, and all files are judged on all."""
RECIPE = """\
name: glue
seed: {seed}
data: {data}
model: {{source: "file:dense.safetensors", architecture: "torchvision:resnet18"}}
teacher: {{source: "file:dense.safetensors", architecture: "torchvision:resnet18"}}
stages:
  - prune:                           # residual blocks
      granularity: layer
      target: {{macs: 0.62}}
      timing_seconds: 0
      recover: {{teacher: teacher, epochs: 1, lr: 0.002}}
  - prune:                           # channels of what is left
      importance: fisher
      target: {{macs: 0.3}}
      schedule: {{kind: one_shot}}
      rescorings: 4
      timing_seconds: 0
      recover:
        teacher: teacher
        epochs: 2
        lr: 0.002
        losses: [{{response: {{temperature: 4, weight: 0.7}}}}, {{task: {{weight: 0.3}}}}]
  - quantize
  - export: {{formats: [onnx]}}
  - profile: {{devices: [host], seconds: 0.3}}
search:
  space:
    stages.0.prune.target.macs: {{choice: [0.88, 0.62, 0.37]}}
    stages.1.prune.target.macs: {{low: 0.08, high: 0.7, log: true}}
    stages.1.prune.recover.lr: {{low: 0.0005, high: 0.01, log: true}}
    stages.1.prune.recover.losses.0.response.temperature: {{choice: [1, 2, 4, 8]}}
  objectives: [accuracy, {{latency_ms: host}}]
  trials: {trials}
"""
PRIORITY = 10
"""Real-time priority of the timing, as of `chrt -r 10`."""


@dataclass(frozen=True)
class Point:
    """A file of a trial.

    Attributes:
        name: Chain, trial and kind of the file.
        validation: Validation samples that are right, 0 or 1.
        test: The same of the test samples.
        ms: Median latency, ms.
    """

    name: str
    validation: np.ndarray
    test: np.ndarray
    ms: float


def run_all_glue(bench: Bench, trials: int, seed: int) -> None:
    """All trials of the other chain."""
    data = load_data(DataSettings(**_data(bench)), base=Path.cwd())
    dense = bench.dense("resnet18", seed)
    with torch.inference_mode():
        logits = torch.cat([dense.eval()(batch.input) for batch in data.train.view(0, 256)])
    logits = logits.clone()
    for number, trial in enumerate(glue_trials(trials, seed, bench.size.rounds)):
        name = f"glue-{seed}-{number}"

        def compute(_: Path, trial: Any = trial, name: str = name) -> dict[str, Any]:
            return run_glue(trial, dense, data, logits, bench.out / f"{name}.onnx", epochs=bench.size.rounds, seed=seed)

        bench.unit(name, compute)


def _data(bench: Bench) -> dict[str, Any]:
    """Settings of the data of the trials."""
    return {**DATA, "samples": bench.size.samples, **LIMITS}


def run_ours(bench: Bench, trials: int, seed: int) -> None:
    """The search; the file of each finished trial is copied to the folder of the benchmark."""
    dense = bench.dense("resnet18", seed)
    work = bench.out / f"ours-{seed}"
    work.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in dense.state_dict().items()}, work / "dense.safetensors")
    recipe = work / "recipe.yaml"
    recipe.write_text(RECIPE.format(seed=seed, trials=trials, data=json.dumps(_data(bench))))
    search = Search(recipe)
    result = search.run(out=work / "reports", device="cpu")
    for row in result.rows:
        if row.result is None:
            print(f"trial {row.number}: {row.state}: {row.reason}", flush=True)
            continue
        (work / f"trial{row.number}.yaml").write_text(search.recipe_of(row))
        run = Pipeline.load(work / f"trial{row.number}.yaml").run(out=work / "reports", device="cpu")
        made = run.folder / "artifacts" / "host" / "model.onnx"
        (bench.out / f"ours-{seed}-{row.number}.onnx").write_bytes(made.read_bytes())
        values = {name: quantity.value for name, quantity in row.result.objectives.items()}
        parameters = {**row.parameters, **values, "wall_s": row.result.wall_s}
        (bench.out / f"ours-{seed}-{row.number}.json").write_text(json.dumps(parameters))
    print(f"ours: {sum(row.wall_s for row in result.rows):.0f} s", flush=True)


def files_of(bench: Bench, seed: int) -> dict[str, Path]:
    """All files by name, the dense network first."""
    glue = [path for path in sorted(bench.out.glob(f"glue-{seed}-*.onnx")) if "prepared" not in path.name]
    paths = [bench.out / f"dense-resnet18-{seed}.onnx", *sorted(bench.out.glob(f"ours-{seed}-*.onnx")), *glue]
    return {path.name.removesuffix(".onnx"): path for path in paths}


def time_files(bench: Bench, seed: int) -> None:
    """Time all files in turns, and score them."""
    files = files_of(bench, seed)
    image = next(iter(bench.data.test.ordered(1))).input.numpy()
    with ExitStack() as stack:
        runners = {name: stack.enter_context(OnnxRuntimeRunner(path)) for name, path in files.items()}
        feeds = {name: {next(iter(runner.shapes())): image} for name, runner in runners.items()}
        is_raised = False
        with suppress(PermissionError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
            is_raised = True
        print(f"load {os.getloadavg()[0]:.1f}, real-time priority: {is_raised}", flush=True)
        found = time_runners(runners, feeds, TimingPlan.of(0.6), batch=1)
        if is_raised:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    stored = bench.out / f"points-{seed}.json"
    known = json.loads(stored.read_text()) if stored.exists() else {}
    for name, path in files.items():
        splits = {"validation": bench.data.validation, "test": bench.data.test}
        right = {key: known.get(name, {}).get(key) or run_split(path, split, Classification()).scores.astype(int).tolist()
                 for key, split in splits.items()}  # fmt: skip
        timing = found[name].p50
        known[name] = {**right, "ms": timing.value, "low": timing.low, "high": timing.high}
    stored.write_text(json.dumps({name: known[name] for name in files}))


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in both, on validation, fastest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda one: (one.ms, -one.validation.mean())):
        if not best or point.validation.mean() > best[-1].validation.mean():
            best.append(point)
    return best


def read_points(bench: Bench, seed: int) -> list[Point]:
    """All files with accuracy and latency."""
    stored = json.loads((bench.out / f"points-{seed}.json").read_text())
    return [Point(name, np.array(one["validation"]), np.array(one["test"]), one["ms"]) for name, one in stored.items()]


def show(bench: Bench, seed: int) -> None:
    """Fronts, factors at equal accuracy, and the picture."""
    points = read_points(bench, seed)
    dense = points[0]
    mine = [point for point in points if point.name.startswith("ours")]
    every = [point for point in points if point.name.startswith("glue")]
    ours, theirs = front(mine), front(every)
    print(f"dense {_test(dense)} test, {dense.validation.mean():.2%} validation, {dense.ms:.3f} ms")
    compare("other chain, best of its files", theirs, ours)
    compare("other chain, int8 by defaults", front([point for point in every if point.name.endswith(".int8")]), ours)
    compare("recipe as it is written", mine[:1], ours)
    draw(bench, seed, dense, ours, theirs, points)


def compare(title: str, theirs: Sequence[Point], ours: Sequence[Point]) -> None:
    """A row for each point of a front with the fastest of ours that is as accurate on validation."""
    print(f"\n| {title} | validation | test | ms | ours | validation | test | ms | factor | ours − other (95 %) |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    factors = []
    for point in theirs:
        equal = next((one for one in ours if one.validation.mean() >= point.validation.mean()), None)
        print(_row(point, equal))
        if equal is not None:
            factors.append(point.ms / equal.ms)
    if factors:
        print(f"factor: {min(factors):.2f} to {max(factors):.2f}, geometric mean {statistics.geometric_mean(factors):.2f}")


def _row(point: Point, equal: Point | None) -> str:
    left = f"| {point.name} | {point.validation.mean():.2%} | {_test(point)} | {point.ms:.3f} |"
    if equal is None:
        return f"{left} none | | | | | |"
    middle, low, high = (100 * value for value in paired_difference(equal.test, point.test))
    right = f"{equal.name} | {equal.validation.mean():.2%} | {_test(equal)} | {equal.ms:.3f}"
    return f"{left} {right} | {point.ms / equal.ms:.2f} | {middle:+.2f} ({low:+.2f} to {high:+.2f}) |"


def _test(point: Point) -> str:
    low, high = wilson(int(point.test.sum()), len(point.test))
    return f"{point.test.mean():.2%} ({low:.2%}–{high:.2%})"


def draw(
    bench: Bench, seed: int, dense: Point, ours: Sequence[Point], theirs: Sequence[Point], points: Sequence[Point]
) -> None:
    """Both fronts on test, with all trials behind them."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, members, colour, label in (
        ("glue", theirs, "#c44e00", "torch-pruning + distillation + quantize_static"),
        ("ours", ours, "#1f5fa8", "one recipe with search"),
    ):
        rest = [point for point in points if point.name.startswith(name)]
        axes.plot([p.ms for p in rest], [100 * p.test.mean() for p in rest], ".", color=colour, alpha=0.35)
        ends = [wilson(int(p.test.sum()), len(p.test)) for p in members]
        means = [100 * p.test.mean() for p in members]
        spread = [[m - 100 * low for m, (low, _) in zip(means, ends, strict=True)],
                  [100 * high - m for m, (_, high) in zip(means, ends, strict=True)]]  # fmt: skip
        axes.errorbar([p.ms for p in members], means, yerr=spread, fmt="o-", color=colour, label=label, capsize=2)
    axes.plot(dense.ms, 100 * dense.test.mean(), "k*", label="trained ResNet-18, float")
    axes.set(xscale="log", xlabel="latency, ms (one thread, batch 1)", ylabel="accuracy on test, %")
    axes.set_ylim(bottom=max(0, 100 * dense.test.mean() - 25))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(bench.out / f"search_glue_{seed}.svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", default="dense,glue,ours,time,show")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    size = Size(samples=310 if given.smoke else DATA["samples"], dense={"resnet18": 1 if given.smoke else DENSE}, rounds=EPOCHS)
    trials = 2 if given.smoke else given.trials
    data = load_data(DataSettings(**{**DATA, "samples": size.samples}), base=Path.cwd())
    bench = Bench(given.out, replace(size, test=DATA["test"]), data, (given.seed,))
    print(f"{host().title}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    parts = {
        "dense": lambda: bench.dense("resnet18", given.seed),
        "glue": lambda: run_all_glue(bench, trials, given.seed),
        "ours": lambda: run_ours(bench, trials, given.seed),
        "time": lambda: time_files(bench, given.seed),
        "show": lambda: show(bench, given.seed),
    }
    for part in given.parts.split(","):
        parts[part]()


if __name__ == "__main__":
    main()
