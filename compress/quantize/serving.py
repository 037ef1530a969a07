"""The acceptance test of networks that write texts judges the speed of requests, not of one run over a text.

A run over a text of typical length is a prompt; most of the time of a request may go into further tokens.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.backends.decoder.key_value_cache import read_layout
from compress.core.fact import Fact
from compress.core.stage import Context
from compress.profile.generation.serving_mix import mix_speedup, time_mix
from compress.quantize.acceptance import AcceptanceResult
from compress.quantize.acceptance_timing import FLOAT, QUANTIZED
from compress.quantize.settings import ServingMix
from compress.quantize.stage_report import StageReport

if TYPE_CHECKING:
    from compress.quantize.stage import Quantize


def serving_mix(stage: Quantize, source: Path, context: Context) -> ServingMix | None:
    """The mix by which a stage judges speed; None for networks that write no texts, or whose attention is not known.

    Args:
        stage: Settings.
        source: Float file.
        context: Task.
    """
    if "writes_text" not in context.task.capabilities or read_layout(source) is None:
        return None
    return stage.serving or ServingMix()


def judge_by_requests(
    result: AcceptanceResult, source: Path, quantized: Path, mix: ServingMix, threads: int, report: StageReport
) -> AcceptanceResult:
    """The result of an acceptance test with the speed of requests in place of that of one run.

    Args:
        result: Of the test; its loss of the metric stays.
        source: Float file.
        quantized: Quantized file.
        mix: Tokens of prompts and answers.
        threads: Threads within an operator.
        report: Receives the table `serving`.

    Raises:
        ConversionError: The quantized file cannot keep keys and values.
    """
    times = time_mix({FLOAT: source, QUANTIZED: quantized}, mix.prompt, mix.answer, threads=threads)
    gain = mix_speedup(times[FLOAT], times[QUANTIZED])
    quantities = {name: each.quantities() for name, each in times.items()}
    report.tables["serving"] = tuple(
        {
            "network": name,
            "prompt_tokens": mix.prompt,
            "answer_tokens": mix.answer,
            **{key: quantity.model_dump(mode="json") for key, quantity in each.items()},
        }
        for name, each in quantities.items()
    )
    is_slower = gain.high is not None and gain.high < 1.0
    changed = {
        "slower": is_slower,
        "latency_ms": quantities[QUANTIZED]["request_ms"].value,
        "float_latency_ms": quantities[FLOAT]["request_ms"].value,
    }
    note = Fact.of(result.note.code, result.note.subject, **{**result.note.values, **changed})
    results = {**result.results, "acceptance_speedup": gain}
    return replace(result, passed=result.accurate and not is_slower, results=results, note=note)
