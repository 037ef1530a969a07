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
        "| stage after fine-tuning | ROUGE-L, likeliest | ROUGE-L, drawn | log-likelihood by the teacher | perplexity |",
        "|---|---|---|---|---|",
        *(_row(name, list(seeds.values())) for name, seeds in results.items()),
        _teacher_row(list(next(iter(results.values())).values())),
        "",
        "| difference | ROUGE-L, likeliest, points | ROUGE-L, drawn | log-likelihood by the teacher, nat per token |",
        "|---|---|---|---|",
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
    rouge, drawn, likelihood = (
        [float(getattr(seed, part).mean()) for seed in seeds] for part in ("rouge", "drawn_rouge", "log_likelihood")
    )
    return f"| `{name}` | {_points(rouge)} | {_points(drawn)} | {_numbers(likelihood)} | {_numbers(perplexities, 1)} |"


def _teacher_row(seeds: Sequence[Written]) -> str:
    return f"| the teacher | {_points([float(seed.teacher_rouge.mean()) for seed in seeds])} | | | |"


def _points(values: Sequence[float]) -> str:
    return _numbers([100 * value for value in values], 1)


def _numbers(values: Sequence[float], digits: int = 2) -> str:
    each = ", ".join(f"{value:.{digits}f}" for value in values)
    return f"{np.mean(values):.{digits}f} ({each})"


def _difference(results: Results, name: str, other: str) -> str:
    seeds = [seed for seed in results[name] if seed in results[other]]
    pairs = [(results[name][seed], results[other][seed]) for seed in seeds]
    cells = (
        _interval(np.concatenate([scale * (getattr(one, part) - getattr(two, part)) for one, two in pairs]))
        for part, scale in (("rouge", 100.0), ("drawn_rouge", 100.0), ("log_likelihood", 1.0))
    )
    return f"| `{name}` over `{other}` | {' | '.join(cells)} |"


def _interval(column: Column) -> str:
    low, high = bootstrap_interval(column)
    return f"{column.mean():+.2f} ({low:+.2f} to {high:+.2f})"


def _bias(name: str, seeds: Sequence[Written]) -> str:
    own, guided = (np.nanmean([getattr(seed, part) for seed in seeds], axis=0) for part in ("own", "guided"))
    cells = " | ".join(f"{np.nanmean(own[place]) / np.nanmean(guided[place]):.2f}" for place in PLACES)
    return f"| `{name}` | {cells} |"
