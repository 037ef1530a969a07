"""Sentences of substitution."""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.sentences.table import Sentences


def _by_auto(fact: Fact) -> str:
    """`auto, at least 2% of the time saved:` and the speed-up on each target."""
    targets, speedups, details = (fact.values[name] for name in ("targets", "speedups", "details"))
    assert isinstance(targets, tuple) and isinstance(speedups, tuple) and isinstance(details, tuple)  # noqa: S101, PT018
    gains = (
        gettext("{target} unknown: {detail}", target=target, detail=detail)
        if speedup is None
        else gettext(
            "{target} {speedup:.2f} times as fast without it ({detail})", target=target, speedup=speedup, detail=detail
        )
        for target, speedup, detail in zip(targets, speedups, details, strict=True)
    )
    return gettext("auto, at least {worth:.0%} of the time saved: {gains}", worth=fact.values["worth"], gains="; ".join(gains))


def _replaced(fact: Fact) -> str:
    reason = _by_auto(fact) if "targets" in fact.values else gettext("requested")
    return gettext("{subject}: {to} in {places} places ({reason})", subject=fact.subject, reason=reason, **fact.values)


def _nothing_replaced(fact: Fact) -> str:
    missing = fact.values["missing"]
    assert isinstance(missing, tuple)  # noqa: S101  # kinds of operators
    return (
        gettext("nothing was replaced; the network has no {missing}", missing=gettext(", no ").join(map(str, missing)))
        if missing
        else gettext("nothing was replaced")
    )


def _gates_dropped(fact: Fact) -> str:
    layers = fact.values["layers"]
    assert isinstance(layers, tuple)  # noqa: S101  # names
    return gettext(
        "no layer absorbs the mean gate of {count} squeeze-excite modules: {layers}",
        count=len(layers),
        layers=", ".join(map(str, layers)),
    )


SENTENCES: Sentences = {
    "substitute.absorbing_layer_shared": "{layer} is used in several places",
    "substitute.absorbing_layer_weight": "{layer} changes its weight before it uses it",
    "substitute.called_as_function": (
        "{kind} is called as a function inside {type}.forward, which cannot be changed; make it a module "
        "(self.act = nn.{module}()) so that it can be replaced"
    ),
    "substitute.gate_input_no_layer": "its input comes from no convolution or batch norm",
    "substitute.gate_input_used_elsewhere": "the output of {layer} is used elsewhere as well",
    "substitute.gate_output_no_convolution": "its output is read by {layer}, which is no convolution",
    "substitute.gate_output_shared": "{modules} modules read its output",
    "substitute.gate_runs_repeatedly": "it runs {times} times in one pass",
    "substitute.gates_dropped": _gates_dropped,
    "substitute.kept_by_auto": _by_auto,
    "substitute.kernel_no_center": "a kernel of {height}×{width} has no center of 3×3",
    "substitute.kernel_padding": "padding {padding} is too small for a 3×3 kernel with the same centers",
    "substitute.kernel_weight": "its weight is changed before use, or not used",
    "substitute.not_timed": "the network was not timed: {error}",
    "substitute.nothing_replaced": _nothing_replaced,
    "substitute.protected": "protected",
    "substitute.replaced": _replaced,
    "substitute.slower": (
        "the network with replacements is not faster on this machine in float32: {speedup:.2f} times the speed before"
    ),
}
