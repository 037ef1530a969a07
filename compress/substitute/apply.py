"""Replacement of all operators of one kind in a network, in place, with a table row for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from compress.core.entries import Row
from compress.core.language import gettext
from compress.core.sentences import render
from compress.models import module_replacement as parts
from compress.substitute import depthwise, squeeze_excite
from compress.substitute.operator_kinds import DEPTHWISE, SQUEEZE_EXCITE
from compress.substitute.squeeze_excite import AbsorbTarget


@dataclass(frozen=True)
class Replacement:
    """One operator that was replaced.

    Attributes:
        kind: One of `OPERATOR_KINDS`.
        layer: Name of the module.
        row: Row of the record's table: `layer`, `was`, `now` and figures of the fit.
        removed: Whether it was removed without a successor.
        dropped: Whether it was a gate whose mean no layer absorbs.
    """

    kind: str
    layer: str
    row: Row
    removed: bool = False
    dropped: bool = False


def replace_without_fit(network: nn.Module, kind: str, to: str, names: Sequence[str]) -> None:
    """Replace without a fit, for a network that is only timed.

    Args:
        network: Changed in place.
        kind: One of `OPERATOR_KINDS`.
        to: The new operator.
        names: Names of the modules.
    """
    if kind == DEPTHWISE:
        for name in names:
            depthwise.fit_kernel(_convolution(network, name), None, "crop")
    else:
        part = parts.part_named("identity" if kind == SQUEEZE_EXCITE else to)
        parts.set_submodule(network, dict.fromkeys(names, part))


def shrink_depthwise(network: nn.Module, names: Sequence[str], batches: Sequence[Tensor], method: str) -> list[Replacement]:
    """Shrink depthwise convolutions to 3×3; `method` is one of `compress methods kernel`."""
    sums = depthwise.collect_moments(network, names, batches)
    replacements = []
    for name in names:
        part = _convolution(network, name)
        was = "×".join(map(str, part.kernel_size))
        r_squared = depthwise.fit_kernel(part, sums.get(name), method)
        now = "×".join(map(str, part.kernel_size))
        row = {"layer": name, "was": gettext("depthwise {was}", was=was), "now": now, "response_kept": r_squared}
        replacements.append(Replacement(DEPTHWISE, name, row))
    return replacements


def remove_gates(
    network: nn.Module, absorb_targets: Mapping[str, AbsorbTarget], batches: Sequence[Tensor]
) -> list[Replacement]:
    """Remove squeeze-excite gates; a neighbouring layer absorbs the mean gate where one can."""
    means = squeeze_excite.mean_gates(network, tuple(absorb_targets), batches)
    replacements = []
    for name, target in absorb_targets.items():
        mean = means[name]
        squeeze_excite.remove(network, name, mean.k, target)
        row = {
            "layer": name,
            "was": "squeeze-excite",
            "now": "nothing",
            "response_kept": mean.explained if target.layer else mean.explained_by_one,
            "mean_gate": gettext(
                "{mean:.3f} ({min:.3f} to {max:.3f})",
                mean=float(mean.k.mean()),
                min=float(mean.k.min()),
                max=float(mean.k.max()),
            ),
            "its_place": gettext("absorbed into {layer}", layer=target.layer)
            if target.layer
            else f"dropped: {', and '.join(map(render, target.reasons))}",
        }
        replacements.append(Replacement(SQUEEZE_EXCITE, name, row, removed=True, dropped=not target.layer))
    return replacements


def replace_activations(network: nn.Module, kind: str, to: str, names: Sequence[str]) -> list[Replacement]:
    """Replace activations of one kind."""
    parts.set_submodule(network, dict.fromkeys(names, parts.part_named(to)))
    return [Replacement(kind, name, {"layer": name, "was": kind, "now": to}) for name in names]


def _convolution(network: nn.Module, name: str) -> nn.Conv2d:
    part = network.get_submodule(name)
    assert isinstance(part, nn.Conv2d)  # noqa: S101  # `find_large` names only convolutions
    return part
