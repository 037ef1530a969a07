"""Markdown sections of `bench_text.py`: networks, paired differences, goals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from vision_table import difference, percent

from compress.core.record import Quantity

POINT = 0.01
TITLES = {
    "distilbert": "DistilBERT's way: half of the layers",
    "tinybert": "TinyBERT's way: a narrower student",
    "chain": "Chain: distilled, pruned, int8",
}


class Network(NamedTuple):
    """A network of one seed.

    Attributes:
        metric: Accuracy on test.
        size_bytes: Size of the ONNX file.
        encoder_parameters: Parameters of the layers, without embeddings and head.
        latency_ms: At the typical length, in turns with the others of the seed.
        speedup: Against the teacher.
    """

    metric: Quantity
    size_bytes: int
    encoder_parameters: int
    latency_ms: Quantity
    speedup: Quantity


class TextSeed(NamedTuple):
    """One seed of one recipe: its networks, and paired differences of accuracy."""

    networks: dict[str, Network]
    differences: dict[str, Quantity]


Seeds = dict[int, TextSeed]


def page(results: dict[str, Seeds], command: str, cut: Sequence[str]) -> str:
    """The whole page.

    Args:
        results: Seeds by recipe, see `text_recipes.arms`.
        command: The command that wrote it.
        cut: What was cut, in sentences.
    """
    lines = ["# Text encoders", "", f"`{command}`", "", *(f"- {text}" for text in cut), *([""] if cut else [])]
    for name, title in TITLES.items():
        if results.get(name):
            lines += [
                f"## {title}",
                "",
                *_networks(results[name]),
                "",
                *_differences(results[name]),
                "",
                *_goals(name, results),
                "",
            ]
    without = {name: seeds for name, seeds in results.items() if name.startswith("tinybert without") and seeds}
    if without and results.get("tinybert"):
        lines += ["## TinyBERT's parts, each taken away once", "", *_ablation(results["tinybert"], without), ""]
    return "\n".join(lines)


def _networks(seeds: Seeds) -> list[str]:
    lines = [
        "| network | accuracy on test, mean and seeds | size | encoder parameters | latency | against the teacher |",
        "|---|---|---|---|---|---|",
    ]
    for name in next(iter(seeds.values())).networks:
        rows = [seed.networks[name] for seed in seeds.values()]
        teachers = [seed.networks["teacher"] for seed in seeds.values()]
        smaller = np.mean([teacher.size_bytes / row.size_bytes for teacher, row in zip(teachers, rows, strict=True)])
        parameters = np.mean([row.encoder_parameters for row in rows])
        counted = f"{parameters:,.0f}" if parameters else "—"  # an int8 file has no saved weights to count
        lines.append(
            f"| {name} | {percent([row.metric.value or 0 for row in rows])} | "
            f"{np.mean([row.size_bytes for row in rows]) / 1e6:.2f} MB (÷ {smaller:.1f}) | {counted} | "
            f"{np.mean([row.latency_ms.value or 0 for row in rows]):.3f} ms | "
            f"÷ {np.mean([row.speedup.value or 0 for row in rows]):.2f} |"
        )
    return lines


def _differences(seeds: Seeds) -> list[str]:
    lines = [f"| points of accuracy on the same samples | {' | '.join(f'seed {seed}' for seed in seeds)} | mean of the seeds |"]
    lines.append("|---|" + "---|" * (len(seeds) + 1))
    names = next(iter(seeds.values())).differences
    cells = {
        name: [
            *(difference(seed.differences[name]) for seed in seeds.values()),
            difference(_pooled(list(seeds.values()), name)),
        ]
        for name in names
    }
    return [*lines, *(f"| {name} | {' | '.join(row)} |" for name, row in cells.items())]


def _goals(name: str, results: dict[str, Seeds]) -> list[str]:
    """The goals of a recipe, judged on the worst seed."""
    seeds = list(results[name].values())
    last = next(reversed(seeds[0].networks))
    kept = min(_kept(seed, last) for seed in seeds)
    smaller = min(seed.networks["teacher"].size_bytes / seed.networks[last].size_bytes for seed in seeds)
    faster = min(seed.networks[last].speedup.value or 0 for seed in seeds)
    gained = _pooled(seeds, "distillation over the student alone").low or float("nan")
    rows: tuple[tuple[str, str, bool], ...]
    if name == "distilbert":
        kept = min(_kept(seed, "distilled") for seed in seeds)
        faster = min(seed.networks["distilled"].speedup.value or 0 for seed in seeds)
        fewer = 1 - max(
            seed.networks["distilled"].encoder_parameters / seed.networks["teacher"].encoder_parameters for seed in seeds
        )
        rows = (
            ("≥ 97 % of the teacher's accuracy", f"{100 * kept:.1f} %", kept >= 0.97),
            ("≥ 40 % fewer encoder parameters", f"{100 * fewer:.0f} %", fewer >= 0.4),
            ("≥ 1.6 times faster in float", f"{faster:.2f} times", faster >= 1.6),
        )
    elif name == "tinybert":
        rows = (
            ("≥ 7.5 times smaller", f"{smaller:.1f} times", smaller >= 7.5),
            ("≥ 96 % of the teacher's accuracy", f"{100 * kept:.1f} %", kept >= 0.96),
            ("≥ 9 times faster with int8", f"{faster:.1f} times", faster >= 9),
            (
                "better than alone, interval of the mean of the seeds without 0",
                f"lower end {100 * gained:+.2f} points",
                gained > 0,
            ),
        )
    else:
        lost = max(_end(seed, "lost against the teacher", "value") for seed in seeds)
        rows = (
            ("≥ 15 times smaller than the fp32 teacher", f"{smaller:.1f} times", smaller >= 15),
            ("≥ 12 times faster", f"{faster:.1f} times", faster >= 12),
            ("≤ 1.5 points lost", f"{100 * lost:.2f} points", lost <= 1.5 * POINT),
        )
    lines = ["| goal, judged on the worst seed unless it says otherwise | result | |", "|---|---|---|"]
    return [*lines, *(f"| {goal} | {result} | {'met' if met else 'missed'} |" for goal, result, met in rows)]


def _pooled(seeds: Sequence[TextSeed], name: str) -> Quantity:
    """The mean of a difference over the seeds, whose splits and weights are drawn apart, with its 95 % interval.

    With half-widths h of the n intervals, that of the mean is √(Σ h²) / n, as for independent normal estimates.
    """
    found = [quantity for seed in seeds if (quantity := seed.differences.get(name)) and quantity.low is not None]
    if len(found) < len(seeds):
        return Quantity.missing("1", "a seed has no interval")
    mean = float(np.mean([quantity.value or 0.0 for quantity in found]))
    half = [((quantity.high or 0.0) - (quantity.low or 0.0)) / 2 for quantity in found]
    width = float(np.sqrt(np.sum(np.square(half)))) / len(found)
    return Quantity.measured(mean, "1", interval=(mean - width, mean + width))


def _end(seed: TextSeed, name: str, end: str) -> float:
    """The value or an end of a difference; not a number where the run did not record it, which meets no goal."""
    value = getattr(seed.differences.get(name), end, None)
    return float("nan") if value is None else float(value)


def _kept(seed: TextSeed, name: str) -> float:
    return (seed.networks[name].metric.value or 0.0) / (seed.networks["teacher"].metric.value or 1.0)


def _ablation(whole: Seeds, without: dict[str, Seeds]) -> list[str]:
    lines = ["| recipe | accuracy of the distilled student, mean and seeds | against all parts, points |", "|---|---|---|"]
    every = {seed: result.networks["distilled"].metric.value or 0.0 for seed, result in whole.items()}
    lines.append(f"| all parts | {percent(list(every.values()))} | |")
    for name, seeds in without.items():
        values = {seed: result.networks["distilled"].metric.value or 0.0 for seed, result in seeds.items()}
        change = np.mean([100 * (values[seed] - every[seed]) for seed in values if seed in every])
        lines.append(f"| {name} | {percent(list(values.values()))} | {change:+.2f} |")
    return lines
