"""Markdown section of `bench_language_distill.py`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from language_written import Column, Written

from compress.core.bootstrap import bootstrap_interval

Results = dict[str, dict[int, Written]]
PLACES = (slice(0, 4), slice(4, 8), slice(8, 12), slice(12, 16), slice(16, 24))
"""Places of the exposure-bias table, from the first token of a response."""


def section(results: Results, pairs: Sequence[tuple[str, str]], command: str) -> str:
    """The section: networks, paired differences, exposure bias by place.

    Args:
        results: By arm and seed.
        pairs: Arms that are compared.
        command: The command that wrote it.
    """
    lines = [
        f"`{command}`",
        "",
        "| stage after fine-tuning | ROUGE-L | log-likelihood by the teacher, nat per token | perplexity on test |",
        "|---|---|---|---|",
        *(_row(name, list(seeds.values())) for name, seeds in results.items()),
        _teacher_row(list(next(iter(results.values())).values())),
        "",
        "| difference | ROUGE-L, points | log-likelihood by the teacher, nat per token |",
        "|---|---|---|",
        *(_difference(results, name, other) for name, other in pairs if name in results and other in results),
        "",
        "| KL(p_t ‖ p_s) on own texts over that on the teacher's, by place | "
        + " | ".join(f"{place.start + 1}–{place.stop}" for place in PLACES)
        + " |",
        "|---|" + "---|" * len(PLACES),
        *(_bias(name, list(seeds.values())) for name, seeds in results.items()),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, seeds: Sequence[Written]) -> str:
    perplexities = [float(seed.perplexity.value or np.nan) for seed in seeds]
    rouge, likelihood = ([float(column.mean()) for column in columns] for columns in _columns(seeds))
    return f"| `{name}` | {_points(rouge)} | {_numbers(likelihood)} | {_numbers(perplexities, 1)} |"


def _teacher_row(seeds: Sequence[Written]) -> str:
    return f"| the teacher | {_points([float(seed.teacher_rouge.mean()) for seed in seeds])} | | |"


def _columns(seeds: Sequence[Written]) -> tuple[list[Column], list[Column]]:
    return [seed.rouge for seed in seeds], [seed.log_likelihood for seed in seeds]


def _points(values: Sequence[float]) -> str:
    return _numbers([100 * value for value in values], 1)


def _numbers(values: Sequence[float], digits: int = 2) -> str:
    each = ", ".join(f"{value:.{digits}f}" for value in values)
    return f"{np.mean(values):.{digits}f} ({each})"


def _difference(results: Results, name: str, other: str) -> str:
    seeds = [seed for seed in results[name] if seed in results[other]]
    pairs = [(results[name][seed], results[other][seed]) for seed in seeds]
    rouge = np.concatenate([100 * (one.rouge - two.rouge) for one, two in pairs])
    likelihood = np.concatenate([one.log_likelihood - two.log_likelihood for one, two in pairs])
    return f"| `{name}` over `{other}` | {_interval(rouge)} | {_interval(likelihood)} |"


def _interval(column: Column) -> str:
    low, high = bootstrap_interval(column)
    return f"{column.mean():+.2f} ({low:+.2f} to {high:+.2f})"


def _bias(name: str, seeds: Sequence[Written]) -> str:
    own, guided = (np.nanmean([getattr(seed, part) for seed in seeds], axis=0) for part in ("own", "guided"))
    cells = " | ".join(f"{np.nanmean(own[place]) / np.nanmean(guided[place]):.2f}" for place in PLACES)
    return f"| `{name}` | {cells} |"
