"""Modules of a network by globs of their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from compress.core.errors import ModelError, nearest
from compress.core.language import gettext


def match_modules(module: nn.Module, globs: Sequence[str], field: str = "protect") -> frozenset[str]:
    """Names of all modules that the globs match, with everything inside them.

    Args:
        module: The network.
        globs: Of the names of its modules.
        field: The setting that has them, for the message.

    Raises:
        ModelError: A glob matches nothing.
    """
    names = [name for name, _ in module.named_modules() if name]
    hit: set[str] = set()
    for glob in globs:
        matched = _matched(field, glob, names)
        hit |= {name for name in names for outer in matched if name == outer or name.startswith(f"{outer}.")}
    return frozenset(hit)


def check_globs(globs: Iterable[str], module: nn.Module) -> None:
    """Check that each glob of `max_ratio` names a module.

    Raises:
        ModelError: A glob matches nothing.
    """
    names = [name for name, _ in module.named_modules() if name]
    for glob in globs:
        _matched("max_ratio", glob, names)


def _matched(field: str, glob: str, names: Sequence[str]) -> list[str]:
    matched = [name for name in names if fnmatchcase(name, glob)]
    if not matched:
        msg = gettext(
            "{field} {glob!r} matches no module of this network: {hint}", field=field, glob=glob, hint=nearest(glob, names)
        )
        raise ModelError(msg)
    return matched
