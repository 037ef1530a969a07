"""Targets of texts as tensors: classes, sets of classes, and values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from compress.core.errors import DataError, nearest
from compress.core.language import gettext
from compress.data.batch import UNLABELLED
from compress.data.text.settings import Targets
from compress.data.text.table import Cell, TextTable

_SHOWN = 40


def encode_targets(tables: Sequence[TextTable], kind: Targets, names: Sequence[str]) -> tuple[list[Tensor], tuple[str, ...]]:
    """Targets of all splits, and the names of the classes or values.

    Args:
        tables: Training, validation and test texts.
        kind: What the targets are.
        names: Names of the columns of values, or of classes that each have a column; else empty.

    Returns:
        Classes: int64 (N,), −100 without one. Sets of classes: float32 (N, K), −100 where unknown. Values: float32 (N, K).

    Raises:
        DataError: A class that the training texts do not have, one class alone, or a value that is no number.
    """
    if kind == "classes":
        return _classes(tables)
    if kind == "labels":
        return _labels(tables, names)
    for table in tables:
        for row, target in enumerate(table.targets or ()):
            if target is None:
                msg = gettext("{place}: the text has no value; give a number, or leave the text out", place=table.name(row))
                raise DataError(msg)
    return _values(tables, names)


def _classes(tables: Sequence[TextTable]) -> tuple[list[Tensor], tuple[str, ...]]:
    names = _sorted({target for target in tables[0].targets or () if isinstance(target, str)})
    if len(names) < 2:
        msg = gettext(
            "the training texts are of fewer than two classes ({names}); a classifier needs two: check the column of targets, "
            "or add texts of other classes",
            names=", ".join(names) or gettext("none"),
        )
        raise DataError(msg)
    numbers = {name: index for index, name in enumerate(names)}
    tensors = []
    for table in tables:
        for row, target in enumerate(table.targets or ()):
            if isinstance(target, str) and target not in numbers:
                raise DataError(_unknown(table.name(row), target, names))
        targets = table.targets or [None] * len(table)
        found = [UNLABELLED if target is None else numbers[str(target)] for target in targets]
        tensors.append(torch.tensor(found, dtype=torch.int64))
    return tensors, names


def _labels(tables: Sequence[TextTable], columns: Sequence[str]) -> tuple[list[Tensor], tuple[str, ...]]:
    if len(columns) > 1:
        tensors, names = _values(tables, columns)
        for table, values in zip(tables, tensors, strict=True):
            wrong = ((values != 0) & (values != 1) & ~values.isnan()).any(1).nonzero()
            if len(wrong):
                row = int(wrong[0])
                msg = gettext(
                    "{place}: the classes {names} are 0 or 1 each, here {values}",
                    place=table.name(row),
                    names=", ".join(names),
                    values=values[row].tolist(),
                )
                raise DataError(msg)
        return [values.nan_to_num(float(UNLABELLED)) for values in tensors], names
    names = _sorted({label for target in tables[0].targets or () for label in _parts(target)})
    if not names:
        raise DataError(gettext("no training text has a class; check the column of targets"))
    numbers = {name: index for index, name in enumerate(names)}
    tensors = []
    for table in tables:
        rows = torch.zeros(len(table), len(names))
        for row, target in enumerate(table.targets or [None] * len(table)):
            if target is None:
                rows[row] = UNLABELLED
            for label in _parts(target):
                if label not in numbers:
                    raise DataError(_unknown(table.name(row), label, names))
                rows[row, numbers[label]] = 1
        tensors.append(rows)
    return tensors, names


def _values(tables: Sequence[TextTable], columns: Sequence[str]) -> tuple[list[Tensor], tuple[str, ...]]:
    tensors = []
    for table in tables:
        rows = torch.full((len(table), len(columns)), math.nan)
        for row, target in enumerate(table.targets or ()):
            cells = [target] if isinstance(target, str | float | int) else target or ()
            for column, cell in enumerate(cells):
                rows[row, column] = _number(cell, table.name(row))
        tensors.append(rows)
    return tensors, tuple(columns)


def _number(cell: object, place: str) -> float:
    try:
        value = float(str(cell))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        msg = gettext(
            "{place}: the target {cell!r} is no finite number; correct it, or use a task for classes", place=place, cell=cell
        )
        raise DataError(msg)
    return value


def _parts(target: Cell) -> tuple[str, ...]:
    return (
        ()
        if target is None or isinstance(target, float | int)
        else (target,)
        if isinstance(target, str)
        else tuple(map(str, target))
    )


def _sorted(names: set[str]) -> tuple[str, ...]:
    """By number where all are whole numbers, else by name."""
    return tuple(sorted(names, key=int) if all(name.isascii() and name.isdigit() for name in names) else sorted(names))


def _unknown(place: str, target: str, names: Sequence[str]) -> str:
    shown = target if len(target) <= _SHOWN else f"{target[:_SHOWN]}…"
    return gettext(
        "{place}: no training text has the class {target!r}: {hint}; correct it, or add such texts to the training split",
        place=place,
        target=shown,
        hint=nearest(target, names),
    )
