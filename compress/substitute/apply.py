"""One kind of operator replaced throughout a network, in place, with a row for each place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from compress.models import module_replacement as parts
from compress.substitute import depthwise, squeeze_excite
from compress.substitute.squeeze_excite import Home
from compress.substitute.stage import GATE, KERNEL

Rows = list[dict[str, Any]]


def structure(network: nn.Module, kind: str, to: str, names: Sequence[str]) -> None:
    """Replace without a fit, for a network that is only timed.

    Args:
        network: Changed in place.
        kind: One of `KINDS`.
        to: What comes in its place.
        names: Where.
    """
    if kind == KERNEL:
        for name in names:
            depthwise.fit(_convolution(network, name), None, "crop")
    else:
        parts.place(network, dict.fromkeys(names, cast("parts.Part", "identity" if kind == GATE else to)))


def kernels(network: nn.Module, names: Sequence[str], batches: Sequence[Tensor], way: str) -> Rows:
    """Depthwise convolutions made 3×3, `way` as in `depthwise.FITS`."""
    sums = depthwise.moments(network, names, batches)
    rows = []
    for name in names:
        part = _convolution(network, name)
        was = "×".join(map(str, part.kernel_size))
        kept = depthwise.fit(part, sums.get(name), way)
        now = "×".join(map(str, part.kernel_size))
        rows.append({"layer": name, "was": f"depthwise {was}", "now": now, "response_kept": kept})
    return rows


def gates(network: nn.Module, homes: Mapping[str, Home], batches: Sequence[Tensor]) -> Rows:
    """Squeeze-excite gates taken out, their means absorbed where they can be."""
    means = squeeze_excite.mean_gates(network, tuple(homes), batches)
    rows = []
    for name, home in homes.items():
        mean = means[name]
        squeeze_excite.remove(network, name, mean.k, home)
        rows.append(
            {
                "layer": name,
                "was": "squeeze-excite",
                "now": "nothing",
                "response_kept": mean.explained if home.layer else mean.explained_by_one,
                "mean_gate": f"{float(mean.k.mean()):.3f} ({float(mean.k.min()):.3f} to {float(mean.k.max()):.3f})",
                "its_place": f"absorbed into {home.layer}" if home.layer else f"dropped: {home.reason}",
            }
        )
    return rows


def activations(network: nn.Module, kind: str, to: str, names: Sequence[str]) -> Rows:
    """Activations of one kind."""
    parts.place(network, dict.fromkeys(names, cast("parts.Part", to)))
    return [{"layer": name, "was": kind, "now": to} for name in names]


def _convolution(network: nn.Module, name: str) -> nn.Conv2d:
    part = network.get_submodule(name)
    assert isinstance(part, nn.Conv2d)  # noqa: S101  # the survey names nothing else
    return part
