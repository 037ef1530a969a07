"""What was pruned and what was left alone: names, widths and zeros by layer."""

from __future__ import annotations

from typing import Any

from torch import nn

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


def channel_rows(before: nn.Module, after: nn.Module) -> tuple[dict[str, Any], ...]:
    """Output and input channels of each convolution and linear layer."""
    small = dict(after.named_modules())
    rows = []
    for name, part in before.named_modules():
        if isinstance(part, _LAYERS) and part.weight.numel():
            (out, into), (out_after, into_after) = _sides(part), _sides(small[name])
            rows.append({"layer": name, "out_before": out, "out_after": out_after, "in_before": into, "in_after": into_after})
    return tuple(rows)


def unrounded(module: nn.Module, before: nn.Module, round_to: int) -> tuple[str, ...]:
    """Layers whose output width was changed and is no multiple of `round_to`, as `name (width)`."""
    return tuple(
        f"{row['layer']} ({row['out_after']})"
        for row in channel_rows(before, module)
        if row["out_after"] != row["out_before"] and row["out_after"] % round_to
    )


def _sides(part: nn.Module) -> tuple[int, int]:
    if isinstance(part, nn.modules.conv._ConvNd):
        return part.out_channels, part.in_channels
    if isinstance(part, nn.Linear):
        return part.out_features, part.in_features
    msg = f"{type(part).__name__} is neither a convolution nor a linear layer"
    raise TypeError(msg)
