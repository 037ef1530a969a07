"""Sentences of pruning."""

from __future__ import annotations

import math

from compress.core.fact import Fact
from compress.core.sentences.table import Sentences

NAMED_LAYERS = 6
"""Layers that a sentence names; of more it says how many."""


DENSE_RUNTIME = {
    "weight": "unstructured sparsity gives no time on a dense runtime; what it gives is compressed bytes",
    "block": "blocks of zeros give time only on a runtime with block-sparse kernels; elsewhere they give compressed bytes",
    "n:m": "N:M sparsity gives time only on sparse tensor cores (2:4, TensorRT with sparsity on); elsewhere compressed bytes",
}
"""What zeros of a granularity save, by its name."""


def _limits(fact: Fact) -> str:
    """The ceilings of `Constraints`: `max_ratio`, and `layer_max_ratios` of the layers that the recipe names."""
    values = fact.values
    ratios = _tuple(fact, "layer_max_ratios")
    if not ratios:
        return f"max_ratio {values['max_ratio']:g}"
    interval = f"{ratios[0]:g}" if len(ratios) == 1 else f"{ratios[0]:g} to {ratios[-1]:g}"
    return f"max_ratio {interval} of the layers that it names ({values['max_ratio']:g} of others)"


def _tuple(fact: Fact, name: str) -> tuple[object, ...]:
    value = fact.values[name]
    return value if isinstance(value, tuple) else (value,)


def _number(fact: Fact, name: str) -> float:
    value = fact.values[name]
    return float(value) if isinstance(value, (int, float)) else math.nan


def _target_not_reached(fact: Fact) -> str:
    """By granularity; `subject` is the measure of the target."""
    values, limits = fact.values, f"limited by {_limits(fact)}"
    cost = f"{fact.subject} at {values['reached']:.4f} of the dense network, asked {values['asked']:.4f}"
    match values["granularity"], fact.subject:
        case "channel", _:
            layers = f"{values['skipped']} layer{'s' * (values['skipped'] != 1)} left alone"
            text = f"{cost}; {limits}, round_to {values['round_to']} and {layers}"
        case "layer", _:
            text = f"{cost}; {limits} of the blocks and by what is no residual block"
        case _, "bytes":
            reached = f"{values['reached']:.3f} of the dense network's compressed bytes, asked {values['asked']:.3f}"
            text = f"{reached}; {limits} in each layer"
        case _:
            removed = f"{values['reached']:.3f} of the prunable weights removed where {values['asked']:.3f} was asked"
            text = f"{removed}; {limits} in each layer"
    return f"target not reached: {text}"


def _unscored(fact: Fact) -> str:
    layers = _tuple(fact, "layers")
    listed = ", ".join(map(str, layers[:NAMED_LAYERS])) + ", …" * (len(layers) > NAMED_LAYERS)
    return f"importance {fact.subject} says nothing of the channels of {listed} ({len(layers)}), which were left alone"


def _latency_target(fact: Fact) -> str:
    values = fact.values
    interval = f" (95 % interval {values['low']:.3f} to {values['high']:.3f})" if values["low"] is not None else ""
    asked = f"asked {values['asked']:.3f}"
    if values["asked_ms"] is not None:
        now = f"where it would take {values['reached_ms']:.3g} ms"
        asked += f", which is {values['asked_ms']:g} ms at the speed of the start, {now}"
    verdict = {"met_within_interval": "met within what the measurement can tell"}.get(
        str(values["verdict"]), str(values["verdict"])
    )
    return f"latency at the end: {values['reached']:.3f} of the dense network's time{interval}, {asked}: {verdict}"


def _machine_speed(fact: Fact) -> str:
    values = fact.values
    before, after = _number(fact, "dense_ms_before"), _number(fact, "dense_ms")
    text = (
        f"this machine became {'slower' if after > before else 'faster'} meanwhile: the dense network took {before:.3g} ms at "
        f"the start and {after:.3g} ms at the end, so times in ms from then and now do not compare; their fractions do"
    )
    if values["latency"] is None:
        return text
    return f"{text}. target: {{latency: {values['latency']:.3g}}} asks for the same without a speed in it"


def _no_speedup(fact: Fact) -> str:
    values = fact.values
    interval = f", 95 % interval {values['low']:.2f} to {values['high']:.2f}" if values["low"] is not None else ""
    return (
        f"{fact.subject} removed multiply-accumulates (÷ {values['macs_ratio']:.2f} against the dense one) and "
        f"gained no time ({values['speedup']:.2f} times the dense speed{interval}); likely cause: {values['cause']}"
    )


def _penalty_growth(fact: Fact) -> str:
    values = fact.values
    factor, ceiling, steps, selection = _number(fact, "factor"), _number(fact, "ceiling"), values["steps"], values["selection"]
    selected = f"picked what is to go after step {selection} of {steps}, and " if selection else ""
    if factor < ceiling:
        progress = f"its factor reached {factor:g} of {ceiling:g}: raise epochs or strength for the rest"
    else:
        progress = f"its factor reached its ceiling {ceiling:g} within {steps} steps"
    return f"sparse_training: {fact.subject} {selected}{progress}"


def _unordered(fact: Fact) -> str:
    groups = fact.values["groups"]
    return (
        f"{groups} group{'s' * (groups != 1)} of channels left in order: behind a shuffle, a reshape, attention or the output"
    )


def _widths(fact: Fact) -> str:
    widths = ", ".join(map(str, _tuple(fact, "layers")))
    return f"widths that are no multiple of {fact.values['round_to']}, tied to grouped convolutions: {widths}"


SENTENCES: Sentences = {
    "prune.target_not_reached": _target_not_reached,
    "prune.unscored_channels": _unscored,
    "prune.accuracy_cliff": (
        "cliff of the metric: removing {removed:.4f} lost {lost:.4f} where {allowed:.4f} is allowed, and was undone; "
        "{retained:.4f} removed was kept where {asked:.4f} was asked"
    ),
    "prune.winning_ticket": (
        "winning ticket in round {round}: validation {subject} {value:.4f} at sparsity {sparsity:.4f}, dense {dense:.4f}; "
        "its masks are in {file}"
    ),
    "prune.no_winning_ticket": (
        "no winning ticket: every round stays below the dense network's validation {subject} of {dense:.4f}"
    ),
    "prune.latency_target": _latency_target,
    "prune.machine_speed_changed": _machine_speed,
    "prune.latency_target_already_met": "the dense network takes {dense_ms:.3f} ms on {subject}: the target is met as it is",
    "prune.step_not_timed": "{subject} was not timed: {error}",
    "prune.channel_multiple": "channels are multiples of {multiple} (round_to: {subject})",
    "prune.no_speedup": _no_speedup,
    "prune.dense_runtime": lambda fact: DENSE_RUNTIME[fact.subject],
    "prune.widths_not_multiples": _widths,
    "prune.selection_not_reached": (
        "sparse_training: {subject} would pick after step {selection} of training, which had {steps}: the first cut picked by "
        "the magnitudes as they then were (factor {factor:g}); raise epochs or pick_strength, or lower every"
    ),
    "prune.penalty_growth": _penalty_growth,
    "prune.channels_permuted": "input channels reordered before the first cut: {gain:.1%} more of the scores kept",
    "prune.channels_not_permuted": _unordered,
    "prune.sensitivity_table": (
        "{subject} holds the ceilings: max_ratio: {subject} in a prune stage takes them; {figure} shows the table"
    ),
    # what was left alone
    "prune.protected": "protected",
    "prune.other_parameters": "biases, normalisation and embeddings: few, and each matters much",
    "prune.indivisible_blocks": "its {outputs}×{inputs} channels do not divide into blocks of {rows}×{columns}",
    "prune.indivisible_inputs": "its {inputs} inputs for each output do not divide into groups of {m}",
    "prune.not_a_residual_block": "not a residual block or transformer layer, or one that changes the shape of its input",
    "prune.output_layer": "it is an output layer: its width is that of the network's outputs",
    "prune.attention_width": "attention's width is tied to its heads, which must stay of equal size",
    "prune.attention_projection": "its outputs are those of attention heads, which go whole",
    "prune.coupled_to_protected": "its channels go together with those of {layer}, which is protected",
    "prune.indivisible_width": "its {width} channels do not divide into {parts} equal parts",
    "prune.no_smaller_width": "{width} channels: no smaller width is a multiple of {round_to} and keeps {kept:.0%}",
    "prune.not_in_graph": (
        "the dependency graph does not reach it: its weights are not used through the layer itself, or not at all"
    ),
    "prune.not_followed": "the dependency graph cannot follow its channels, as through a shuffle, split or recurrence",
    "prune.would_empty_a_layer": "removing its channels would leave a coupled layer without any",
    "prune.fails_when_smaller": "with fewer channels the network does not run ({error})",
    "prune.output_shape_changes": "removing channels changes the output's shape to {shape}",
    "prune.not_equivalent": (
        "removing channels changes more than what reads them: they pass an operation over channels or one that reorders them"
    ),
    "prune.effect_not_seen": "its channels have no effect on the outputs, so their removal cannot be tested",
    "prune.trial_fails": "the network does not run in double precision, in which removals are tried: {error}",
    "prune.trial_not_finite": "their removal cannot be tested, because the outputs are not finite",
    "prune.tied_weights": "the weights of {layer} are shared with {other}",
    "prune.computed_weights": "the weight of {layer} is computed by a mask or parametrization; remove that first",
    "prune.recurrent_width": "its channels are coupled to the hidden state of {layer}",
    "prune.heads_protected": "protected",
    "prune.no_fewer_heads": "{heads} heads: max_ratio {max_ratio} leaves no smaller number",
    "prune.fails_with_fewer_heads": "with fewer heads the network does not run ({error})",
    "prune.heads_not_equivalent": "removing a head is not the same as muting it (outputs differ by {difference:.1e})",
}
SUBJECTS: Sentences = {
    "prune.other_parameters": "{count} other parameters",
    "prune.not_a_residual_block": "everything else",
    **dict.fromkeys(
        ("prune.heads_protected", "prune.no_fewer_heads", "prune.fails_with_fewer_heads", "prune.heads_not_equivalent"),
        "{subject} (heads)",
    ),
}
