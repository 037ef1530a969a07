"""One kind of operator replaced throughout a network, in place, with a row for each place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

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
        row: Of the record's table: `layer`, `was`, `now` and what is known of the fit.
        removed: Nothing stands in its place.
        dropped: It was a gate whose mean no layer absorbs.
    """

    kind: str
    layer: str
    row: dict[str, Any]
    removed: bool = False
    dropped: bool = False


def replace_without_fit(network: nn.Module, kind: str, to: str, names: Sequence[str]) -> None:
    """Replace without a fit, for a network that is only timed.

    Args:
        network: Changed in place.
        kind: One of `OPERATOR_KINDS`.
        to: What comes in its place.
        names: Where.
    """
    if kind == DEPTHWISE:
        for name in names:
            depthwise.fit_kernel(_convolution(network, name), None, "crop")
    else:
        parts.set_submodule(
            network, dict.fromkeys(names, cast("parts.ReplaceablePart", "identity" if kind == SQUEEZE_EXCITE else to))
        )


def shrink_depthwise(network: nn.Module, names: Sequence[str], batches: Sequence[Tensor], way: str) -> list[Replacement]:
    """Depthwise convolutions made 3×3, `way` as in `depthwise.FITS`."""
    sums = depthwise.collect_moments(network, names, batches)
    replacements = []
    for name in names:
        part = _convolution(network, name)
        was = "×".join(map(str, part.kernel_size))
        kept = depthwise.fit_kernel(part, sums.get(name), way)
        now = "×".join(map(str, part.kernel_size))
        row = {"layer": name, "was": f"depthwise {was}", "now": now, "response_kept": kept}
        replacements.append(Replacement(DEPTHWISE, name, row))
    return replacements


def remove_gates(
    network: nn.Module, absorb_targets: Mapping[str, AbsorbTarget], batches: Sequence[Tensor]
) -> list[Replacement]:
    """Squeeze-excite gates taken out, their means absorbed where they can be."""
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
            "mean_gate": f"{float(mean.k.mean()):.3f} ({float(mean.k.min()):.3f} to {float(mean.k.max()):.3f})",
            "its_place": f"absorbed into {target.layer}"
            if target.layer
            else f"dropped: {', and '.join(map(render, target.reasons))}",
        }
        replacements.append(Replacement(SQUEEZE_EXCITE, name, row, removed=True, dropped=not target.layer))
    return replacements


def replace_activations(network: nn.Module, kind: str, to: str, names: Sequence[str]) -> list[Replacement]:
    """Activations of one kind."""
    parts.set_submodule(network, dict.fromkeys(names, cast("parts.ReplaceablePart", to)))
    return [Replacement(kind, name, {"layer": name, "was": kind, "now": to}) for name in names]


def _convolution(network: nn.Module, name: str) -> nn.Conv2d:
    part = network.get_submodule(name)
    assert isinstance(part, nn.Conv2d)  # noqa: S101  # the survey names nothing else
    return part
