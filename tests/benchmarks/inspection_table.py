"""Markdown section of `bench_inspection.py`: networks, paired differences, goals."""

from __future__ import annotations

from typing import Any

import numpy as np

ARMS = ("teacher", "student alone", "student distilled", "int8", "anomaly score", "anomaly score, int8")
GAINED, LOST = "gained by distillation over the student alone", "lost by the int8 student against the teacher"
HEADING = "## Inspection of solar cells"
Results = dict[int, dict[str, Any]]


def section(results: Results, text: str) -> str:
    """The Markdown section.

    Args:
        results: By seed.
        text: What the section is about.
    """
    seeds = sorted(results)
    every = [results[seed] for seed in seeds]
    lines = [
        HEADING,
        "",
        f"{text} Values are percentages on the test split, with 95 % intervals (Wilson's for recalls, bootstrap for AUROC "
        "where it decides). Networks with a latency are timed in turns.",
        "",
        "| network | recall at 5 % false alarms | false alarms on test | AUROC | likely | certain | size | latency |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for arm in (arm for arm in ARMS if all(arm in each["rows"] for each in every)):
        size = np.mean([each["rows"][arm]["size_bytes"][0] for each in every]) / 1000
        times = [each["latency_ms"].get(arm) for each in every]
        latency = f"{np.mean([time for time in times if time]):.2f} ms" if all(times) else "not measured"
        lines.append(
            f"| {arm} | {cell(every, arm, 'recall_at_fpr')} | {cell(every, arm, 'false_alarm_rate', interval=False)} | "
            f"{cell(every, arm, 'auroc')} | {cell(every, arm, 'recall_likely', interval=False)} | "
            f"{cell(every, arm, 'recall_certain', interval=False)} | {size:.0f} kB | {latency} |"
        )
    columns = " | ".join(f"seed {seed}" for seed in seeds)
    lines += [
        "",
        f"| difference on the same test cells, points of recall | mean | {columns} |",
        "| --- | --- |" + " --- |" * len(seeds),
    ]
    for name in every[0]["differences"]:
        triples = [[100 * number for number in each["differences"][name]] for each in every]
        cells = " | ".join(f"{value:+.1f} ({low:+.1f} to {high:+.1f})" for value, low, high in triples)
        lines.append(f"| {name} | {np.mean([triple[0] for triple in triples]):+.1f} | {cells} |")
    return "\n".join([*lines, "", *goals(every), ""])


def cell(results: list[dict[str, Any]], arm: str, name: str, *, interval: bool = True) -> str:
    """Mean over the seeds in percent, and each seed with its interval."""
    each = [result["rows"][arm][name] for result in results]
    if any(row is None for row in each):
        return "not measured"
    interval = interval and all(row[1] is not None for row in each)
    mean = f"{100 * np.mean([row[0] for row in each]):.1f}"
    if not interval:
        return mean if len(each) == 1 else f"{mean} ({', '.join(f'{100 * row[0]:.1f}' for row in each)})"
    ends = "; ".join(f"{100 * row[0]:.1f} [{100 * row[1]:.1f}, {100 * row[2]:.1f}]" for row in each)
    return ends if len(each) == 1 else f"**{mean}**: {ends}"


def goals(results: list[dict[str, Any]]) -> list[str]:
    """The goals and whether each was met, on the worst seed."""
    recall = {arm: [result["rows"][arm]["recall_at_fpr"][0] for result in results] for arm in ("student distilled", "int8")}
    int8 = 100 * max(a - b for a, b in zip(recall["student distilled"], recall["int8"], strict=True))
    lost = 100 * max(result["differences"][LOST][0] for result in results)
    gained = 100 * min(result["differences"][GAINED][1] for result in results)
    sizes = [[result["rows"][arm]["size_bytes"][0] for arm in ("teacher", "int8")] for result in results]
    smaller = min(teacher / student for teacher, student in sizes)
    faster = min(result["speedups"]["int8"][0] for result in results)
    rows = (
        ("int8 within 1 point of recall of float", f"{int8:.1f} points lost", int8 <= 1),
        ("int8 student ≥ 4 times smaller than the teacher", f"{smaller:.1f} times", smaller >= 4),
        ("int8 student ≥ 3 times faster than the teacher", f"{faster:.1f} times", faster >= 3),
        ("int8 student loses ≤ 2 points of recall against the teacher", f"{lost:.1f} points lost", lost <= 2),
        ("distilled better than alone, interval without 0", f"lower end {gained:+.1f} points", gained > 0),
    )
    lines = ["| goal, judged on the worst seed | result | |", "| --- | --- | --- |"]
    return [*lines, *(f"| {goal} | {result} | {'**met**' if met else '**missed**'} |" for goal, result, met in rows)]
