"""Sentences of pruning."""

from __future__ import annotations

import math

from compress.core.fact import Fact
from compress.core.language import gettext, ngettext
from compress.core.sentences.table import Sentences

NAMED_LAYERS = 6
"""Number of layers that a sentence names."""


_VERDICTS = {"met": "met", "met_within_interval": "met within the measurement interval", "missed": "missed"}
DENSE_RUNTIME = {
    "weight": "unstructured sparsity saves compressed bytes, but no time on a dense runtime",
    "block": "block sparsity saves compressed bytes, and time only on a runtime with block-sparse kernels",
    "n:m": "N:M sparsity saves compressed bytes, and time only on sparse tensor cores (2:4, TensorRT with sparsity enabled)",
}
"""What the zeros of a granularity save."""


def _limits(fact: Fact) -> str:
    """The ceilings of `Constraints`: `max_ratio`, and `layer_max_ratios` of the layers that match a glob."""
    values = fact.values
    ratios = _tuple(fact, "layer_max_ratios")
    if not ratios:
        return gettext("max_ratio {max_ratio:g}", max_ratio=values["max_ratio"])
    first, last = f"{ratios[0]:g}", f"{ratios[-1]:g}"
    interval = first if len(ratios) == 1 else gettext("{low} to {high}", low=first, high=last)
    return gettext(
        "max_ratio {interval} of the layers that it names ({max_ratio:g} of other layers)",
        interval=interval,
        max_ratio=values["max_ratio"],
    )


def _tuple(fact: Fact, name: str) -> tuple[object, ...]:
    value = fact.values[name]
    return value if isinstance(value, tuple) else (value,)


def _number(fact: Fact, name: str) -> float:
    value = fact.values[name]
    return float(value) if isinstance(value, (int, float)) else math.nan


def _target_not_reached(fact: Fact) -> str:
    """By granularity; `subject` is the measure of the target."""
    values, limits = fact.values, gettext("limited by {limits}", limits=_limits(fact))
    cost = gettext("{subject} is {reached:.4f} of the dense network, target {asked:.4f}", subject=fact.subject, **values)
    match values["granularity"], fact.subject:
        case "channel", _:
            skipped = ngettext(
                "{number} layer that cannot be pruned", "{number} layers that cannot be pruned", int(_number(fact, "skipped"))
            )
            text = gettext(
                "{cost}; {limits}, round_to {round_to} and {layers}", cost=cost, limits=limits, layers=skipped, **values
            )
        case "layer", _:
            text = gettext(
                "{cost}; {limits} of the blocks, and by parts of the network that are no residual block",
                cost=cost,
                limits=limits,
            )
        case "expert", _:
            text = gettext(
                "{cost}; {limits} of the experts of a layer, and by the experts that each token needs", cost=cost, limits=limits
            )
        case "component", _:
            text = gettext(
                "{cost}; {limits} of the hidden width, and by round_to {round_to}", cost=cost, limits=limits, **values
            )
        case _, "bytes":
            reached = gettext("{reached:.3f} of the dense network's compressed bytes, target {asked:.3f}", **values)
            text = gettext("{reached}; {limits} in each layer", reached=reached, limits=limits)
        case _:
            removed = gettext("{reached:.3f} of the prunable weights removed, target {asked:.3f}", **values)
            text = gettext("{removed}; {limits} in each layer", removed=removed, limits=limits)
    return gettext("target not reached: {text}", text=text)


def _unscored(fact: Fact) -> str:
    layers = _tuple(fact, "layers")
    listed = ", ".join(map(str, layers[:NAMED_LAYERS])) + ", …" * (len(layers) > NAMED_LAYERS)
    count = ngettext("{number} layer", "{number} layers", len(layers))
    return gettext(
        "importance {subject} has no scores for the channels of {count}, which are not pruned: {listed}",
        subject=fact.subject,
        count=count,
        listed=listed,
    )


def _by_magnitude(fact: Fact) -> str:
    layers = _tuple(fact, "layers")
    listed = ", ".join(map(str, layers[:NAMED_LAYERS])) + ", …" * (len(layers) > NAMED_LAYERS)
    count = ngettext("{number} layer", "{number} layers", len(layers))
    return gettext(
        "the inputs of {count} are not recorded, whose weights went by magnitude: {listed}", count=count, listed=listed
    )


def _latency_target(fact: Fact) -> str:
    values = fact.values
    interval = gettext(" (95 % interval {low:.3f} to {high:.3f})", **values) if values["low"] is not None else ""
    target = gettext("target {asked:.3f}", asked=values["asked"])
    if values["asked_ms"] is not None:
        times = gettext("{reached_ms:.3g} ms against {asked_ms:g} ms", **values)
        target += gettext(" (at the speed of the machine at the start: {times})", times=times)
    verdict = _VERDICTS.get(str(values["verdict"]), str(values["verdict"]))
    return gettext(
        "latency at the end: {reached:.3f} of the dense network's time{interval}, {target}: {verdict}",
        reached=values["reached"],
        interval=interval,
        target=target,
        verdict=gettext(verdict),
    )


def _machine_speed(fact: Fact) -> str:
    values = fact.values
    before, after = _number(fact, "dense_ms_before"), _number(fact, "dense_ms")
    became = (
        gettext("this machine became slower meanwhile") if after > before else gettext("this machine became faster meanwhile")
    )
    text = gettext(
        "{became}: the dense network took {before:.3g} ms "
        "at the start and {after:.3g} ms at the end, so only fractions of its time are comparable, not times in ms",
        became=became,
        before=before,
        after=after,
    )
    if values["latency"] is None:
        return text
    return gettext(
        "{text}. target: {{latency: {latency:.3g}}} sets the same target independently of the speed",
        text=text,
        latency=values["latency"],
    )


def _no_speedup(fact: Fact) -> str:
    values = fact.values
    interval = gettext(", 95 % interval {low:.2f} to {high:.2f}", **values) if values["low"] is not None else ""
    return gettext(
        "{subject} removed multiply-accumulates (÷ {macs_ratio:.2f} against the dense network), and the network is no faster "
        "than before it: {speedup:.2f} times the dense speed{interval}, after {earlier:.2f}; likely cause: {cause}",
        subject=fact.subject,
        interval=interval,
        **{"earlier": math.nan, **values},
    )


def _penalty_growth(fact: Fact) -> str:
    values = fact.values
    factor, ceiling, steps, selection = _number(fact, "factor"), _number(fact, "ceiling"), values["steps"], values["selection"]
    choice = (
        gettext("selected the weights to remove after step {selection} of {steps}; ", selection=selection, steps=steps)
        if selection
        else ""
    )
    if factor < ceiling:
        progress = gettext(
            "the factor reached {factor:g}, below its ceiling {ceiling:g}: raise epochs or strength",
            factor=factor,
            ceiling=ceiling,
        )
    else:
        progress = gettext("the factor reached its ceiling {ceiling:g} within {steps} steps", ceiling=ceiling, steps=steps)
    return gettext("sparse_training: {subject}: {choice}{progress}", subject=fact.subject, choice=choice, progress=progress)


def _not_permuted(fact: Fact) -> str:
    return ngettext(
        "{number} group of channels not permuted: a shuffle, reshape, attention or output follows them",
        "{number} groups of channels not permuted: a shuffle, reshape, attention or output follows them",
        int(_number(fact, "groups")),
    )


def _components(fact: Fact) -> str:
    values = fact.values
    text = gettext(
        "hidden width {before} rotated to its principal components, of which {width} with {kept:.2%} of the variance stay",
        **values,
    )
    if fact.subject == "common":
        return text
    return gettext("{text}; each residual connection has a matrix", text=text)


def _widths(fact: Fact) -> str:
    widths = ", ".join(map(str, _tuple(fact, "layers")))
    return gettext(
        "widths that are not a multiple of {round_to}, because of grouped convolutions: {widths}",
        round_to=fact.values["round_to"],
        widths=widths,
    )


SENTENCES: Sentences = {
    "prune.target_not_reached": _target_not_reached,
    "prune.unscored_channels": _unscored,
    "prune.by_magnitude": _by_magnitude,
    "prune.accuracy_cliff": (
        "cliff of the metric: removing {removed:.4f} lost {lost:.4f}, more than the allowed {allowed:.4f}, and was undone; "
        "the result has {retained:.4f} removed, target {asked:.4f}"
    ),
    "prune.winning_ticket": (
        "winning ticket in round {round}: validation {subject} {value:.4f} at sparsity {sparsity:.4f}, dense {dense:.4f}; "
        "its masks are in {file}"
    ),
    "prune.no_winning_ticket": (
        "no winning ticket: every round is worse than the dense network, whose validation {subject} is {dense:.4f}"
    ),
    "prune.latency_target": _latency_target,
    "prune.machine_speed_changed": _machine_speed,
    "prune.latency_target_already_met": (
        "the dense network already meets the target: it takes {dense_ms:.3f} ms on {subject}; nothing is pruned"
    ),
    "prune.step_not_timed": "{subject} was not timed: {error}",
    "prune.channel_multiple": "channels are multiples of {multiple} (round_to: {subject})",
    "prune.no_speedup": _no_speedup,
    "prune.dense_runtime": lambda fact: gettext(DENSE_RUNTIME[fact.subject]),
    "prune.widths_not_multiples": _widths,
    "prune.selection_not_reached": (
        "sparse_training: {subject} selects after step {selection} of training, and the training had {steps} steps: weights "
        "were selected by the magnitudes at its end (factor {factor:g}); raise epochs or pick_strength, or lower every"
    ),
    "prune.penalty_growth": _penalty_growth,
    "prune.components": _components,
    "prune.channels_permuted": "input channels permuted before the first step: the pattern keeps {gain:.1%} more of the scores",
    "prune.channels_not_permuted": _not_permuted,
    "prune.sensitivity_table": (
        "{subject} contains the largest ratio of each layer, for max_ratio: {subject} in a prune stage; {figure} shows it"
    ),
    # reasons why layers are not pruned
    "prune.protected": "protected",
    "prune.other_parameters": "biases, normalisation and embeddings: few parameters with a large effect each",
    "prune.indivisible_blocks": "its {outputs}×{inputs} channels do not divide into blocks of {rows}×{columns}",
    "prune.indivisible_inputs": "its {inputs} inputs for each output do not divide into groups of {m}",
    "prune.not_a_residual_block": "no residual block or transformer layer, or the shape of its output differs from its input",
    "prune.not_the_hidden_width": "granularity component changes the hidden width alone",
    "prune.output_layer": "output layer: its width is that of the network's outputs",
    "prune.attention_width": "the width of attention is the sum of its heads, which must have equal sizes",
    "prune.attention_projection": "its outputs belong to attention heads, which are removed as a whole",
    "prune.coupled_to_protected": "its channels are coupled to those of {layer}, which is protected",
    "prune.indivisible_width": "its {width} channels do not divide into {parts} equal parts",
    "prune.no_smaller_width": "no smaller width than {width} is a multiple of {round_to} and keeps {kept:.0%} of the channels",
    "prune.not_in_graph": (
        "the dependency graph does not contain it: its weights are unused, or used without a call of the layer"
    ),
    "prune.not_followed": "the dependency graph cannot follow its channels, for example through a shuffle, split or recurrence",
    "prune.would_empty_a_layer": "removing its channels would remove all channels of a coupled layer",
    "prune.fails_when_smaller": "with fewer channels the network does not run ({error})",
    "prune.output_shape_changes": "removing channels changes the shape of the output to {shape}",
    "prune.not_equivalent": (
        "removing channels also changes other results, as with an operation that mixes or reorders channels"
    ),
    "prune.own_normalisation": (
        "its channels are normalised by {layer}, a {kind} of the network's own code; those of torch's normalisations are pruned"
    ),
    "prune.shared_layer": (
        "one layer that runs {runs} times, so that it cannot be dropped; for fewer runs, lower its number of layers in args"
    ),
    "prune.effect_not_seen": "its channels have no effect on the outputs, so their removal cannot be tested",
    "prune.trial_fails": "removing channels cannot be tested, since the network does not run in double precision: {error}",
    "prune.trial_not_finite": "removing channels cannot be tested, since the outputs are not finite",
    "prune.tied_weights": "the weights of {layer} are shared with {other}",
    "prune.computed_weights": "the weight of {layer} is computed by a mask or parametrization; remove that first",
    "prune.recurrent_width": "its channels are coupled to the hidden state of {layer}",
    "prune.heads_protected": "protected",
    "prune.no_fewer_heads": "{heads} heads: max_ratio {max_ratio} allows no smaller number",
    "prune.no_fewer_experts": "{experts} experts: experts per token and max_ratio keep {kept}",
    "prune.fails_with_fewer_heads": "with fewer heads the network does not run ({error})",
    "prune.heads_not_equivalent": "removing a head and setting its output to zero differ in the outputs, by {difference:.1e}",
}
SUBJECTS: Sentences = {
    "prune.other_parameters": "{count} other parameters",
    "prune.not_a_residual_block": "everything else",
    "prune.not_the_hidden_width": "feed-forward columns and heads",
    **dict.fromkeys(
        ("prune.heads_protected", "prune.no_fewer_heads", "prune.fails_with_fewer_heads", "prune.heads_not_equivalent"),
        "{subject} (heads)",
    ),
}
