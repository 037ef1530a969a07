"""What was pruned and what was left alone: names, widths and zeros by layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from compress.errors import ModelError, nearest

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


def protected(module: nn.Module, globs: Sequence[str]) -> frozenset[str]:
    """Names of all modules that the globs match, with everything inside them.

    Raises:
        ModelError: A glob matches nothing.
    """
    names = [name for name, _ in module.named_modules() if name]
    hit: set[str] = set()
    for glob in globs:
        matched = _matched("protect", glob, names)
        hit |= {name for name in names for outer in matched if name == outer or name.startswith(f"{outer}.")}
    return frozenset(hit)


def check_globs(globs: Iterable[str], module: nn.Module) -> None:
    """Check that each glob of `max_ratio` names a module.

    Raises:
        ModelError: One matches nothing.
    """
    names = [name for name, _ in module.named_modules() if name]
    for glob in globs:
        _matched("max_ratio", glob, names)


def _matched(field: str, glob: str, names: Sequence[str]) -> list[str]:
    matched = [name for name in names if fnmatchcase(name, glob)]
    if not matched:
        msg = f"{field} {glob!r} matches no module of this network: {nearest(glob, names)}"
        raise ModelError(msg)
    return matched


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
