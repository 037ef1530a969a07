"""Tables of bench_distillation.py: gains with intervals over test images and over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from compress.core.statistics import paired_difference

BEGIN, END = "<!-- tables: written by the benchmark -->", "<!-- end of tables -->"


@dataclass(frozen=True, eq=False)
class Row:
    """One line.

    Attributes:
        section: Heading.
        kind: First column.
        name: Second column.
        scores: 1 where a test image is named right, (seeds, images).
        epochs: Run, on average.
        alone: Whether without a teacher or anything to compare.
    """

    section: str
    kind: str
    name: str
    scores: NDArray[np.float64]
    epochs: float
    alone: bool


def gain(row: Row, base: Row) -> tuple[float, tuple[float, float], tuple[float, float]]:
    """Points of accuracy over a base: mean, 95 % interval over images of the mean of seeds, 95 % interval over seeds (t)."""
    mean, low, high = (100 * value for value in paired_difference(row.scores.mean(0), base.scores.mean(0)))
    each = 100 * (row.scores.mean(1) - base.scores.mean(1))
    half = float(student_t.ppf(0.975, len(each) - 1)) * float(each.std(ddof=1)) / math.sqrt(len(each))
    return mean, (low, high), (mean - half, mean + half)


def verdict(intervals: Sequence[tuple[float, float]]) -> str:
    """What both intervals allow to say."""
    if all(low > 0 for low, _ in intervals):
        return "**better**"
    if all(high < 0 for _, high in intervals):
        return "**worse**"
    if intervals[0][0] > 0 or intervals[0][1] < 0:
        return "better, seeds undecided" if intervals[0][0] > 0 else "worse, seeds undecided"
    return "undecided"


def cells(row: Row, base: Row | None) -> list[str]:
    """Gain, intervals and verdict over a base."""
    if base is None or base is row:
        return ["", ""]
    mean, images, seeds = gain(row, base)
    spans = "; ".join(f"{low:+.1f} to {high:+.1f}" for low, high in (images, seeds))
    return [f"{mean:+.1f} ({spans})", verdict((images, seeds))]


def bases(rows: Sequence[Row], row: Row) -> tuple[Row | None, Row | None]:
    """The student alone and response that a row is held against: the nearest before it in its section."""
    before = [other for other in rows[: rows.index(row) + 1] if other.section == row.section]
    alone = next((other for other in reversed(before) if "alone" in other.name), None)
    response = next((other for other in before if other.name.startswith("response")), None)
    plain = next((other for other in before if other.name == "alone"), alone)
    base = alone if row.section.startswith("students") else plain
    return base, None if row.section.startswith("students") else response


def table(rows: Sequence[Row], teachers: Mapping[str, float], missing: Sequence[str]) -> str:
    """Markdown."""
    lines = ["Teachers, test accuracy: " + ", ".join(f"{name} {value:.1%}" for name, value in teachers.items()) + ".", ""]
    for section in dict.fromkeys(row.section for row in rows):
        lines += [f"## {section[0].upper()}{section[1:]}", ""]
        lines += [
            "| kind | case | accuracy | over alone, points | | over response, points | |",
            "|---|---|---:|---|---|---|---|",
        ]
        for row in rows:
            if row.section == section:
                alone, response = bases(rows, row)
                parts = [row.kind, row.name, f"{row.scores.mean():.1%}"]
                lines.append("| " + " | ".join([*parts, *cells(row, alone), *cells(row, response)]) + " |")
        lines.append("")
    if missing:
        lines += [f"Not run: {'; '.join(missing)}.", ""]
    return "\n".join(lines)


def with_qdq(page: str, tables: str) -> str:
    """A page with its tables in their place, between two marks; the words around them stay."""
    if BEGIN not in page or END not in page:
        return f"{page}{BEGIN}\n\n{tables}\n{END}\n"
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{tables}\n{END}{rest.partition(END)[2]}"
