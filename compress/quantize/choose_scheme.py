"""Scheme `auto` for networks with free axes, such as text encoders: the fastest scheme that keeps the metric.

Which scheme is fast depends on the sequence length, on the instruction set and on the runtime: dynamic int8 shortens every
run of a linear layer, static int8 saves computing ranges, and int4 saves memory traffic where few rows are multiplied. So
every candidate is built and takes the acceptance test, in turns with the float network, and the fastest one that passes is
used. The speed of networks that write texts is that of requests, see `serving`. If none passes, the most accurate one takes
the test again, which decides whether the float network is used.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from compress.core.entries import Row
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.stage import Candidate, Context, Outcome
from compress.profile.served_sizes import served_sizes
from compress.quantize.acceptance_timing import FLOAT, QUANTIZED
from compress.quantize.settings import PTQSettings
from compress.quantize.target_requirements import Scheme, local_device, target_runtimes, unsupported_scheme_reason

if TYPE_CHECKING:
    from compress.quantize.stage import Quantize

CANDIDATES: tuple[Scheme, ...] = ("dynamic_int8", "int8", "weight_int4")
OF_TEXT_WRITERS: tuple[Scheme, ...] = ("dynamic_int8", "weight_int4", "block_int8")
"""Candidates for networks that write texts: static ranges are those of texts, not of one token."""
SMOOTH = 0.5
"""α of SmoothQuant for static int8, if the recipe does not set it: activations of transformers have outlier channels."""
OF_TEXT_WRITERS_SMOOTH = 0.65
"""α for `dynamic_int8` in networks that write texts: a decoder of 135 M parameters lost less with it than with 0.5 and 0.8."""


def tries_schemes(stage: Quantize, candidate: Candidate, context: Context) -> bool:
    """Whether `auto` tries several schemes: a network with free axes, timed on this machine, without options of one scheme."""
    is_timed = stage.accept_if is not None and local_device(context.targets) is not None and not context.smoke
    return stage.scheme == "auto" and is_timed and not stage.static_options and bool(served_sizes(candidate.spec.signature))


def with_scheme(stage: Quantize, scheme: Scheme, *, writes_text: bool = False) -> Quantize:
    """The stage with one of the candidates."""
    changes: dict[str, object] = {"scheme": scheme}
    if scheme == "int8":
        changes["ptq"] = PTQSettings(smooth=SMOOTH)
    elif writes_text and scheme == "dynamic_int8":
        changes["ptq"] = PTQSettings(smooth=OF_TEXT_WRITERS_SMOOTH)
    elif writes_text and scheme == "weight_int4":
        changes["weight_only"] = stage.weight_only.model_copy(update={"rounding": "gptq"})
    return stage.model_copy(update=changes)


Run = Callable[["Quantize", Candidate, Context], Outcome]
"""Quantizes by the scheme of a stage."""


def choose_scheme(
    stage: Quantize, candidate: Candidate, context: Context, quantize: Run
) -> tuple[Quantize, tuple[Row, ...], tuple[Fact, ...]]:
    """Try the candidates that all targets support.

    Args:
        stage: Settings.
        candidate: The float network.
        context: Data, task, folder and targets.
        quantize: Quantizes by one scheme.

    Returns:
        The stage with the chosen scheme, and its blocks where these were chosen; a row per candidate: `scheme`, `passed`,
        `speedup`, `drop`, `size_ratio`, and of networks that write texts times and changed tokens, with a row of the float
        network; facts on the choice and on candidates that could not be built.

    Raises:
        CompressError: No candidate could be built; the error is that of the first.
    """
    rows: dict[Scheme, Row] = {}
    outcomes: dict[Scheme, Outcome] = {}
    facts: list[Fact] = []
    first: CompressError | None = None
    writes_text = "writes_text" in context.task.capabilities
    for scheme in OF_TEXT_WRITERS if writes_text else CANDIDATES:
        if unsupported_scheme_reason(scheme, target_runtimes(context.targets)):
            continue
        try:
            outcomes[scheme] = _try(with_scheme(stage, scheme, writes_text=writes_text), candidate, context, quantize)
            rows[scheme] = _row(scheme, outcomes[scheme])
        except CompressError as error:
            first = first or error
            facts.append(Fact.of("quantize.scheme_failed", scheme, error=str(error)))
    if not rows:
        if first is None:
            return with_scheme(stage, "int8"), (), ()
        raise first
    passed = [scheme for scheme, row in rows.items() if row["passed"]]
    if passed:
        chosen = max(passed, key=lambda scheme: _value(rows[scheme]["speedup"], 0.0))
    else:
        chosen = min(rows, key=lambda scheme: _value(rows[scheme]["drop"], float("inf")))
    facts.append(Fact.of("quantize.scheme_chosen", chosen, candidates=tuple(rows), passed=tuple(passed)))
    floats = _float_row(outcomes[chosen])
    chosen_stage = with_scheme(stage, chosen, writes_text=writes_text)
    return with_blocks(chosen_stage, outcomes[chosen]), (*floats, *rows.values()), tuple(facts)


def with_blocks(stage: Quantize, outcome: Outcome) -> Quantize:
    """The stage with the block size and accuracy level of an outcome, so that they are not chosen again."""
    fact = next((fact for fact in outcome.notes if fact.code == "quantize.blocks"), None)
    if fact is None:
        return stage
    blocks = {name: fact.values[name] for name in ("block", "accuracy_level")}
    return stage.model_copy(update={"weight_only": stage.weight_only.model_copy(update=blocks)})


def _try(stage: Quantize, candidate: Candidate, context: Context, quantize: Run) -> Outcome:
    """Outcome of one candidate; its files are deleted."""
    folder = context.folder / f"try_{stage.scheme}"
    folder.mkdir(parents=True, exist_ok=True)
    assert stage.accept_if is not None  # noqa: S101  # `tries_schemes` has checked it
    always = stage.accept_if.model_copy(update={"keep": "quantized"})
    try:
        return quantize(stage.model_copy(update={"accept_if": always}), candidate, replace(context, folder=folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _row(scheme: Scheme, outcome: Outcome) -> Row:
    names = {"speedup": "acceptance_speedup", "drop": "acceptance_drop", "size_ratio": "size_ratio"}
    names |= {"changed_tokens": "changed_tokens"}
    quantities = {name: outcome.results[key].model_dump(mode="json") for name, key in names.items() if key in outcome.results}
    failed = any(fact.code == "quantize.acceptance" for fact in outcome.warnings)
    return {"scheme": scheme, "passed": not failed, **quantities, **_times(outcome, QUANTIZED)}


def _float_row(outcome: Outcome) -> tuple[Row, ...]:
    """The row of the float network, which was timed in turns with a candidate; none without times of requests."""
    times = _times(outcome, FLOAT)
    return ({"scheme": FLOAT, **times},) if times else ()


def _times(outcome: Outcome, network: str) -> Row:
    """Times of requests, prompts and further tokens of a network; empty for networks that write no texts."""
    rows = [row for row in outcome.tables.get("serving", ()) if row["network"] == network]
    return {name: row[name] for row in rows for name in ("request_ms", "time_to_first_token_ms", "token_p50_ms")}


def _value(quantity: object, otherwise: float) -> float:
    """Value of a quantity as JSON."""
    value = Quantity.model_validate(quantity).value if quantity else None
    return otherwise if value is None else value
