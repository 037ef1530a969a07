"""Checks that the splits of an `npz:` source belong together: the same inputs, kinds of targets and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.sources.npz_files import SPLITS

CLASSES, GROUPS = "classes", "groups"
"""Arrays that are neither inputs nor targets: names of the classes, and the group of each sample."""
Arrays = Mapping[str, np.ndarray]


def class_names(parts: Sequence[Arrays], path: Path) -> tuple[str, ...]:
    """The list of class names, the same in all splits that have one; empty without names.

    Args:
        parts: Arrays of each split.
        path: Source in messages.

    Raises:
        DataError: Two splits list other classes, or in another order, so that their targets have other meanings.
    """
    listed = {
        name: tuple(map(str, part[CLASSES].reshape(-1).tolist()))
        for name, part in zip(SPLITS, parts, strict=True)
        if CLASSES in part
    }
    first, names = next(iter(listed.items()), ("", ()))
    for name, others in listed.items():
        if others != names:
            msg = gettext(
                "{path}: `classes` of the {name} split are {others}, those of the {first} split {names}; targets are positions "
                "in this list: write the same list into each file, and number the targets by it",
                path=path,
                name=name,
                others=", ".join(others),
                first=first,
                names=", ".join(names),
            )
            raise DataError(msg)
    return names


def check_inputs(splits: Sequence[Mapping[str, Tensor]], path: Path) -> None:
    """Check that all splits have the inputs of the training split, of the same types and shapes.

    Raises:
        DataError: They differ.
    """
    train = {name: _describe(values) for name, values in splits[0].items()}
    for split, inputs in zip(SPLITS, splits, strict=True):
        given = {name: _describe(values) for name, values in inputs.items()}
        if given != train:
            msg = gettext(
                "{path}: the {name} split has other inputs than the train split ({given}, not {expected}); give "
                "the arrays {names}",
                path=path,
                name=split,
                given=", ".join(f"{name}: {what}" for name, what in given.items()),
                expected=", ".join(f"{name}: {what}" for name, what in train.items()),
                names=", ".join(train),
            )
            raise DataError(msg)


def check_targets(splits: Sequence[Tensor], classes: Sequence[str], path: Path) -> None:
    """Check that the targets of all splits are of one kind, and class numbers below the number of classes.

    Args:
        splits: Targets of each split, (N, …); class numbers are integers (N,).
        classes: Class names.
        path: Source in messages.

    Raises:
        DataError: They differ in kind, or a number has no class.
    """
    kinds = [_kind(target) for target in splits]
    for name, target, kind in zip(SPLITS, splits, kinds, strict=True):
        if kind != kinds[0]:
            msg = gettext(
                "{path}: targets of the {name} split are {kind}, those of the train split {expected}; write the same kind into "
                "each file",
                path=path,
                name=name,
                kind=kind,
                expected=kinds[0],
            )
            raise DataError(msg)
        if target.ndim == 1 and not target.is_floating_point() and int(target.max()) >= len(classes):
            count = int((target >= len(classes)).sum())
            msg = gettext(
                "{path}: {count} targets of the {name} split are no class, up to {value}; the train split has {classes} "
                "classes, so targets are 0 to {last}: correct them, or list all classes as `classes` in each file",
                path=path,
                count=count,
                name=name,
                value=int(target.max()),
                classes=len(classes),
                last=len(classes) - 1,
            )
            raise DataError(msg)


def _describe(values: Tensor) -> str:
    shape = "×".join(("N", *map(str, values.shape[1:])))
    return f"{str(values.dtype).removeprefix('torch.')} {shape}"


def _kind(target: Tensor) -> str:
    """Type and shape of targets, whatever the width of their integers."""
    kind = gettext("real numbers") if target.is_floating_point() else gettext("integers")
    return f"{kind} ({', '.join(('N', *map(str, target.shape[1:])))}{',' * (target.ndim == 1)})"
