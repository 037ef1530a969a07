"""Importance for each millisecond: of two channels that matter alike, the one that costs more time goes first.

Shen et al. 2022, "Structural Pruning via Latency-Saliency Knapsack" (HALP), arXiv:2210.06659, ranks by the same quotient; Yang
et al. 2018, "NetAdapt", arXiv:1804.03230, measured the times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch_pruning as tp
from torch import Tensor

from compress.prune.importance.base import Importance

_LEAST = 1e-3
"""Smallest time of a channel, as a fraction of the mean layer's: a channel that costs nothing is not worth removing."""
_OUTPUTS = frozenset(
    {tp.prune_conv_out_channels, tp.prune_linear_out_channels, tp.prune_depthwise_conv_out_channels}  # bound methods
)


def per_millisecond(importance: Importance, times: Mapping[str, float]) -> Importance:
    """Channel scores divided by the milliseconds that a channel takes; single weights take none and are left out.

        score / Σ over layers that lose it of (time of the layer · its share of that side's channels)

    Args:
        importance: Scores that are comparable between groups.
        times: Milliseconds of each layer, by name; layers that are not in it were fused into others.
    """
    least = _LEAST * sum(times.values()) / max(len(times), 1)

    def channels(root: str, group: Any) -> Tensor | None:
        found = importance.channels(root, group)
        return None if found is None else found / max(milliseconds(group, times) / len(found), least)

    return replace(importance, channels=channels)


def milliseconds(group: Any, times: Mapping[str, float]) -> float:
    """Time that would go with all channels of a group, ms."""
    total = 0.0
    for dep, indices in group:
        name = dep.target.name.partition(" (")[0]
        if name in times:
            part = dep.target.module
            sides = ("out_channels", "out_features") if dep.handler in _OUTPUTS else ("in_channels", "in_features")
            width = next((getattr(part, side) for side in sides if hasattr(part, side)), None)
            total += times[name] * len(indices) / width if width else 0.0
    return total
