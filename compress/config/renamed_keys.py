"""Renamed keys and method names of recipes; an old name gives an error with the new one."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from compress.config.key_path import KeyPath
from compress.core.language import gettext


class Renamed(NamedTuple):
    """A renamed key or name.

    Attributes:
        where: Glob of the key path of the block with the key, or of the key that has the name as its value or in its
            list; parts are joined by dots, without indices: `stages`, `stages.prune.schedule`, `stages.*.losses`.
        old: The old key or name.
        new: The new key or name.
    """

    where: str
    old: str
    new: str


RENAMED: tuple[Renamed, ...] = (
    Renamed("stages", "adapt", "substitute"),
    Renamed("stages", "distill_data", "dataset_distillation"),
    Renamed("stages.quantize", "gate", "accept_if"),
    Renamed("stages.quantize", "ladder", "ptq"),
    Renamed("stages.quantize.calibration", "tune", "learn_epochs"),
    Renamed("stages.quantize.calibration.method", "relative", "sample_normalized_mse"),
    Renamed("stages.quantize.recover", "steps", "scales"),
    Renamed("stages.prune", "before", "sparse_training"),
    Renamed("stages.prune", "per_millisecond", "cost_aware: latency"),
    Renamed("stages.prune", "rounds", "rescorings"),
    Renamed("stages.prune.*.kind", "growing", "greg1"),
    Renamed("stages.prune.*.kind", "growing_all", "greg2"),
    Renamed("stages.prune.schedule", "every", "update_every"),
    Renamed("stages.prune.schedule", "exchange", "drop_fraction"),
    Renamed("stages.prune.schedule", "until", "end_fraction"),
    Renamed("stages.prune.schedule.kind", "guarded", "accuracy_aware"),
    Renamed("stages.*losses", "branches", "self_distillation_exits"),
    Renamed("stages.*losses", "standardised", "logit_standardization"),
    Renamed("stages.distill.teacher", "labels", "soft_label_file"),
    Renamed("stages.distill.teacher", "oracle", "function"),
)


def find_renamed(tree: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """The key path of each old key or name, and a message with the new one.

    Args:
        tree: The recipe as plain values.
        path: Key path of `tree` in the recipe.
    """
    if isinstance(tree, dict):
        for key, value in tree.items():
            if new := new_name(path, key):
                yield (*path, key), _message(key, new)
            yield from find_renamed(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from find_renamed(value, (*path, index))
    elif isinstance(tree, str) and (new := new_name(path, tree)):
        yield path, _message(tree, new)


def new_name(path: KeyPath, word: str) -> str | None:
    """The new name for an old one at a key path; None if it was not renamed."""
    dotted = ".".join(part for part in path if isinstance(part, str))
    return next((row.new for row in RENAMED if row.old == word and fnmatchcase(dotted, row.where)), None)


def _message(old: str, new: str) -> str:
    return gettext("`{old}` is now called `{new}`", old=old, new=new)
