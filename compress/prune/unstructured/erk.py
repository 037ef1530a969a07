"""Densities of the layers for a density of the whole network, as functions of shapes.

    uniform:          d_l = d
    Erdős–Rényi:      d_l = ε · (n_in + n_out) / (n_in · n_out)
    ER-Kernel (ERK):  d_l = ε · (n_in + n_out + k_h + k_w) / (n_in · n_out · k_h · k_w)

Mocanu et al. 2018, "Scalable training of artificial neural networks with adaptive sparse connectivity", arXiv:1707.04780;
Evci et al. 2020, "Rigging the Lottery", arXiv:1911.11134, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from compress.core.language import gettext

_HALVINGS = 100


def erk_densities(
    shapes: Mapping[str, Sequence[int]], density: float, *, least: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Density d_l of each layer; wide layers become sparser than narrow ones.

    d_l is clamped to [least, 1], and ε solves Σ d_l · n_l = density · Σ n_l with n_l weights in layer l. The sum increases with
    ε, which is found by bisection.

    Args:
        shapes: Shape of each weight, (n_out, n_in, kernel…).
        density: Fraction of all weights to keep, in (0, 1].
        least: Smallest allowed density by layer, 0 by default.

    Returns:
        Densities by layer.

    Raises:
        ValueError: The density is outside (0, 1].
    """
    if not 0 < density <= 1:
        msg = gettext("density {density} is outside (0, 1]; it is the fraction of weights to keep", density=density)
        raise ValueError(msg)
    n = {name: prod(shape) for name, shape in shapes.items()}
    raw = {name: sum(shape) / prod(shape) for name, shape in shapes.items()}
    floor = {name: (least or {}).get(name, 0.0) for name in shapes}
    low, high = 0.0, 1 / min(raw.values())
    for _ in range(_HALVINGS):
        epsilon = (low + high) / 2
        densities = {name: min(max(epsilon * raw[name], floor[name]), 1.0) for name in shapes}
        if sum(densities[name] * n[name] for name in shapes) < density * sum(n.values()):
            low = epsilon
        else:
            high = epsilon
    return densities


def share_removals(weights: Mapping[str, float], ceiling: Mapping[str, int], count: int) -> dict[str, int]:
    """Distribute `count` removals in proportion to `weights`, in whole numbers whose sum is `count`.

    Args:
        weights: Weights ≥ 0 by layer.
        ceiling: Largest number of removals of each layer. Removals above it are not moved to other layers.
        count: Total number of removals.
    """
    total, removals, cumulative = sum(weights.values()), {}, 0.0
    for name, weight in weights.items():
        before, cumulative = cumulative, cumulative + weight
        share = round(count * cumulative / total) - round(count * before / total) if total else 0
        removals[name] = min(share, ceiling[name])
    return removals
