"""Segmentation and detection on drawn scenes: teacher, student alone, distilled, pruned and int8, over several seeds.

    python tests/benchmarks/bench_vision.py segmentation --out DIR [--seeds 0,1,2] [--smoke] [--page PAGE.md]

Each seed is a run of the recipe `pipelines/TASK.yaml` with that seed for networks and data; DIR keeps the runs, and the next
call continues them. Prints a Markdown section of the finished seeds, and with `--page` puts it in place of the section of that
page.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from compress.backends.run_split import run_split
from compress.config.recipe import load
from compress.core.record import Quantity, RunRecord
from compress.data.factory import load_data
from compress.pipeline.pipeline import Pipeline
from compress.tasks.base import Task
from compress.tasks.detection import Detection
from compress.tasks.metric_quantity import loss_of
from compress.tasks.segmentation import Segmentation

ROOT = Path(__file__).resolve().parents[2]
TASKS: dict[str, Task] = {"segmentation": Segmentation(), "detection": Detection()}
RECIPES = {name: ROOT / "pipelines" / f"{name}.yaml" for name in TASKS}
ARMS = ("teacher", "student alone", "student distilled", "pruned", "int8")
POINT = 0.01


class Arm(NamedTuple):
    """A network of one seed."""

    metric: Quantity
    size_bytes: float | None
    latency_ms: float | None


class SeedResult(NamedTuple):
    """One seed: its networks, and differences on the same test samples in fractions with their intervals."""

    arms: dict[str, Arm]
    differences: dict[str, Quantity]
    onnx_difference: float


def run_seed(task: Task, seed: int, out: Path, *, smoke: bool) -> SeedResult:
    """Run the recipe, or continue it, and read its record."""
    recipe, metric = RECIPES[task.name], task.metric
    overrides = (f"seed={seed}", f"data.seed={seed}")
    finished = Pipeline.load(recipe, overrides=overrides, smoke=smoke).run(out=out / f"seed{seed}")
    stages = stage_metrics(finished.record)
    arms = {
        name: Arm(stages[stage][metric], stages[stage]["size_bytes"].value, stages[stage]["latency_ms"].value)
        for name, stage in (
            ("teacher", "teacher"), ("student distilled", "distill"), ("pruned", "prune"), ("int8", "quantize")
        )
    }  # fmt: skip
    results = next(stage for stage in finished.record.stages if stage.name == "distill").results
    distilled = arms["student distilled"]
    arms["student alone"] = Arm(results[f"control_{metric}"], distilled.size_bytes, distilled.latency_ms)
    differences = {
        "lost by int8 against the teacher": stages["quantize"][task.metric_info.loss_name],
        "gained by distillation over the student alone": results[f"{metric}_over_control"],
    }
    settings = load(recipe, overrides=overrides, smoke=smoke).recipe.data
    test = load_data(settings, base=recipe.parent).test
    reference = run_split(finished.folder / "02-prune" / "model.onnx", test, task).scores
    quantized = run_split(next(finished.folder.glob("artifacts/*/model.onnx")), test, task).scores
    differences["lost by int8 against its float network"] = loss_of(task.deciding, reference, quantized, "the float network")
    onnx = abs(task.deciding.value(reference) - (stages["prune"][metric].value or 0.0))
    return SeedResult(arms, differences, onnx)


def stage_metrics(record: RunRecord) -> dict[str, dict[str, Quantity]]:
    """Metrics after each stage, by its name."""
    return {stage.name: dict(stage.after) for stage in record.every_stage}


def percent(values: Sequence[float]) -> str:
    """Mean of fractions over seeds in percent, and each."""
    each = ", ".join(f"{100 * value:.1f}" for value in values)
    return f"{100 * np.mean(values):.1f} % ({each})"


def section(task: Task, results: dict[int, SeedResult], *, smoke: bool) -> str:
    """The Markdown section."""
    seeds = sorted(results)
    label = task.metric_info.label
    lines = [f"## {task.name.capitalize()} of drawn scenes", ""]
    lines += [
        f"`pipelines/{task.name}.yaml{' --smoke' if smoke else ''}` with seed {', '.join(map(str, seeds))}: "
        f"{len(seeds)} of the three seeds that are the goal. The scenes are synthetic, drawn by code; figures on them say "
        f"little about photographs. The {label} on the test split, one value for each seed; sizes are of ONNX files; latencies "
        "are of ONNX Runtime, one thread, batch 1, taken while other processes ran, so only their ratios mean something.",
        "",
        f"| network | {label} | 95 % interval, seed by seed | size | against the teacher | latency | against the teacher |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in ARMS:
        rows = [results[seed].arms[name] for seed in seeds]
        teachers = [results[seed].arms["teacher"] for seed in seeds]
        intervals = "; ".join(f"{100 * (row.metric.low or 0):.1f}–{100 * (row.metric.high or 0):.1f}" for row in rows)
        sizes = [size_ratio(teacher, row) for teacher, row in zip(teachers, rows, strict=True)]
        times = [time_ratio(teacher, row) for teacher, row in zip(teachers, rows, strict=True)]
        kilobytes = np.mean([row.size_bytes or 0 for row in rows]) / 1000
        milliseconds = np.mean([row.latency_ms or 0 for row in rows])
        lines.append(
            f"| {name} | {percent([row.metric.value or 0 for row in rows])} | {intervals} | {kilobytes:.0f} kB | "
            f"÷ {np.mean(sizes):.1f} | {milliseconds:.3f} ms | ÷ {np.mean(times):.1f} |"
        )
    lines += ["", f"| difference on the same test samples | seed | points of {label}, 95 % interval |", "| --- | --- | --- |"]
    for name in results[seeds[0]].differences:
        for seed in seeds:
            quantity = results[seed].differences[name]
            value, low, high = (100 * (number or 0) for number in (quantity.value, quantity.low, quantity.high))
            lines.append(f"| {name} | {seed} | {value:+.2f} ({low:+.2f} to {high:+.2f}) |")
    return "\n".join([*lines, "", *goals(results), ""])


def size_ratio(teacher: Arm, other: Arm) -> float:
    """How many times smaller a network is than the teacher."""
    return (teacher.size_bytes or 0) / (other.size_bytes or 1)


def time_ratio(teacher: Arm, other: Arm) -> float:
    """How many times faster a network is than the teacher."""
    return (teacher.latency_ms or 0) / (other.latency_ms or 1)


def goals(results: dict[int, SeedResult]) -> list[str]:
    """The goals and whether each was met, on the worst seed."""
    every = list(results.values())
    onnx = max(each.onnx_difference for each in every)
    int8 = max(each.differences["lost by int8 against its float network"].value or 0 for each in every)
    lost = max(each.differences["lost by int8 against the teacher"].value or 0 for each in every)
    gained = min(each.differences["gained by distillation over the student alone"].low or 0 for each in every)
    smaller = min(size_ratio(each.arms["teacher"], each.arms["int8"]) for each in every)
    faster = min(time_ratio(each.arms["teacher"], each.arms["int8"]) for each in every)
    rows = (
        ("ONNX within 0.1 point of torch", f"{100 * onnx:.3f} points", onnx <= 0.1 * POINT),
        ("int8 within 1 point of float", f"{100 * int8:.2f} points lost", int8 <= POINT),
        ("int8 student ≥ 4 times smaller than the teacher", f"{smaller:.1f} times", smaller >= 4),
        ("int8 student ≥ 3 times faster than the teacher", f"{faster:.1f} times", faster >= 3),
        ("int8 student loses ≤ 2 points against the teacher", f"{100 * lost:.2f} points lost", lost <= 2 * POINT),
        ("distilled better than alone, interval without 0", f"lower end {100 * gained:+.2f} points", gained > 0),
    )
    lines = ["| goal, judged on the worst seed | result | met |", "| --- | --- | --- |"]
    return [*lines, *(f"| {goal} | {result} | {'yes' if met else 'no'} |" for goal, result, met in rows)]


def replace_section(page: Path, text: str) -> None:
    """Put a section in place of the one with the same heading, or at the end."""
    head = "# Vision\n\nFigures of segmentation and detection, by `tests/benchmarks/bench_vision.py`.\n"
    before = page.read_text(encoding="utf-8") if page.exists() else head
    heading = text.partition("\n")[0]
    pattern = re.compile(rf"^{re.escape(heading)}$.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    after = pattern.sub(lambda _: text + "\n", before) if pattern.search(before) else f"{before.rstrip()}\n\n{text}\n"
    page.write_text(after.rstrip() + "\n", encoding="utf-8")


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=RECIPES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    results = {}
    for seed in map(int, arguments.seeds.split(",")):
        results[seed] = run_seed(TASKS[arguments.part], seed, arguments.out, smoke=arguments.smoke)
        text = section(TASKS[arguments.part], results, smoke=arguments.smoke)
        if arguments.page:
            replace_section(arguments.page, text)
    print(text)


if __name__ == "__main__":
    main()
