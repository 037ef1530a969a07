"""Markdown sections of `bench_vision.py`: networks, paired differences, goals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from compress.core.record import Quantity
from compress.tasks.base import Task

ARMS = ("teacher", "student alone", "student distilled", "pruned", "int8")
POINT = 0.01


class Arm(NamedTuple):
    """A network of one seed."""

    metric: Quantity
    size_bytes: int
    latency_ms: Quantity
    speedup: Quantity


class SeedResult(NamedTuple):
    """One seed: its networks, and differences on the same test samples in fractions with their intervals."""

    arms: dict[str, Arm]
    differences: dict[str, Quantity]
    onnx_difference: float


class Part(NamedTuple):
    """What a section is about."""

    title: str
    command: str
    text: str
    task: Task


def section(part: Part, results: dict[int, SeedResult]) -> str:
    """The Markdown section."""
    seeds, label = sorted(results), part.task.metric_info.label
    numbers = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    lines = [
        f"## {part.title}",
        "",
        f"{part.command}, {numbers}. {part.text}",
        "",
        f"| network | {label} on test, mean and seeds | 95 % interval of each seed | size | against the teacher | latency | "
        "against the teacher |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ARMS:
        rows = [results[seed].arms[name] for seed in seeds]
        teachers = [results[seed].arms["teacher"] for seed in seeds]
        intervals = "; ".join(f"{100 * (row.metric.low or 0):.1f} to {100 * (row.metric.high or 0):.1f}" for row in rows)
        sizes = [size_ratio(teacher, row) for teacher, row in zip(teachers, rows, strict=True)]
        times = [row.speedup.value or 0 for row in rows]
        kilobytes = np.mean([row.size_bytes for row in rows]) / 1000
        milliseconds = np.mean([row.latency_ms.value or 0 for row in rows])
        lines.append(
            f"| {name} | {percent([row.metric.value or 0 for row in rows])} | {intervals} | {kilobytes:.0f} kB | "
            f"÷ {np.mean(sizes):.1f} | {milliseconds:.3f} ms | ÷ {np.mean(times):.1f} |"
        )
    lines += [
        "",
        f"| difference on the same test samples, points of {label} | {' | '.join(f'seed {seed}' for seed in seeds)} |",
    ]
    lines.append("|---|" + "---|" * len(seeds))
    for name in results[seeds[0]].differences:
        cells = (difference(results[seed].differences[name]) for seed in seeds)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *goals(results), ""])


def percent(values: Sequence[float]) -> str:
    """Mean of fractions over seeds in percent, and each."""
    each = ", ".join(f"{100 * value:.1f}" for value in values)
    return f"{100 * np.mean(values):.1f} % ({each})"


def difference(quantity: Quantity) -> str:
    """A difference of fractions in points, with its interval."""
    value, low, high = (100 * (number or 0) for number in (quantity.value, quantity.low, quantity.high))
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def size_ratio(teacher: Arm, other: Arm) -> float:
    """How many times smaller a network is than the teacher."""
    return teacher.size_bytes / other.size_bytes


def goals(results: dict[int, SeedResult]) -> list[str]:
    """The goals and whether each was met, on the worst seed."""
    every = list(results.values())
    onnx = max(each.onnx_difference for each in every)
    int8 = max(each.differences["lost by int8 against its float network"].value or 0 for each in every)
    lost = max(each.differences["lost by int8 against the teacher"].value or 0 for each in every)
    gained = min(each.differences["gained by distillation over the student alone"].low or 0 for each in every)
    smaller = min(size_ratio(each.arms["teacher"], each.arms["int8"]) for each in every)
    slowest = min((each.arms["int8"].speedup for each in every), key=lambda speedup: speedup.value or 0)
    faster = slowest.value or 0
    rows = (
        ("ONNX within 0.1 point of torch", f"{100 * onnx:.3f} points", onnx <= 0.1 * POINT),
        ("int8 within 1 point of float", f"{100 * int8:.2f} points lost", int8 <= POINT),
        ("int8 student ≥ 4 times smaller than the teacher", f"{smaller:.1f} times", smaller >= 4),
        (
            "int8 student ≥ 3 times faster than the teacher",
            f"{faster:.1f} times ({slowest.low or 0:.1f} to {slowest.high or 0:.1f})",
            faster >= 3,
        ),
        ("int8 student loses ≤ 2 points against the teacher", f"{100 * lost:.2f} points lost", lost <= 2 * POINT),
        ("distilled better than alone, interval without 0", f"lower end {100 * gained:+.2f} points", gained > 0),
    )
    lines = ["| goal, judged on the worst seed | result | |", "|---|---|---|"]
    return [*lines, *(f"| {goal} | {result} | {'**met**' if met else '**missed**'} |" for goal, result, met in rows)]


def replace_section(page: Path, text: str) -> None:
    """Put a section in place of the one with the same heading, or at the end."""
    head = "# Vision\n\nFigures of segmentation and detection, by `tests/benchmarks/bench_vision.py`.\n"
    before = page.read_text(encoding="utf-8") if page.exists() else head
    heading = text.partition("\n")[0]
    pattern = re.compile(rf"^{re.escape(heading)}$.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    after = pattern.sub(lambda _: text + "\n", before) if pattern.search(before) else f"{before.rstrip()}\n\n{text}\n"
    page.write_text(after.rstrip() + "\n", encoding="utf-8")
