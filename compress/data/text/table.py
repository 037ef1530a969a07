"""Tables of texts before they are encoded: selection of rows, and the division into splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compress.data.stratified import Indices, balanced_subset, divide_splits, stratified_hold_out
from compress.data.text.cells import Answer, ChatMessage, LabelledSpan, TaggedWord

Parts = Sequence[TaggedWord] | Sequence[LabelledSpan] | Sequence[Answer] | Sequence[ChatMessage]
Cell = str | float | Sequence[str] | Sequence[float] | Parts | None
"""Target of a text: a class, a value, several of either, parts of the text, or none."""


@dataclass(frozen=True)
class TextTable:
    """N texts with their targets.

    Attributes:
        texts: First texts.
        pairs: Second texts; None for single texts.
        targets: A class, a value, or several of either for each text; None for texts without targets.
        origin: Place of each text for messages, such as `train.csv line 3`; empty for none.
        members: Group of each text, for figures of each group; empty for none.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None = None
    targets: Sequence[Cell] | None = None
    origin: Sequence[str] = ()
    members: Sequence[str] = ()

    def __len__(self) -> int:
        """N."""
        return len(self.texts)

    def select(self, rows: Indices) -> TextTable:
        """These rows."""
        chosen = rows.tolist()
        return TextTable(
            [self.texts[row] for row in chosen],
            None if self.pairs is None else [self.pairs[row] for row in chosen],
            None if self.targets is None else [self.targets[row] for row in chosen],
            [self.origin[row] for row in chosen] if self.origin else (),
            [self.members[row] for row in chosen] if self.members else (),
        )

    def without_targets(self, rows: Indices) -> TextTable:
        """The table without the targets of these rows."""
        if self.targets is None:
            return self
        removed = set(rows.tolist())
        return replace(self, targets=[None if row in removed else target for row, target in enumerate(self.targets)])

    def name(self, row: int) -> str:
        """Place of a row in messages."""
        return self.origin[row] if self.origin else f"number {row}"

    @property
    def groups(self) -> Indices:
        """A number for each class, 0 for targets that are no classes, −1 without a target, (N,)."""
        if self.targets is None:
            return np.zeros(len(self), np.int64)
        numbers: dict[str, int] = {}
        return np.array([_group(target, numbers) for target in self.targets], dtype=np.int64)


def _group(target: Cell, numbers: dict[str, int]) -> int:
    if target is None:
        return -1
    return numbers.setdefault(target, len(numbers)) if isinstance(target, str) else 0


def divide(
    splits: Mapping[str, TextTable], *, validation: float, test: float, seed: int
) -> tuple[TextTable, TextTable, TextTable]:
    """Tables for training, validation and test; missing ones are held out from the training texts, by class.

    Texts without a target are for training.

    Args:
        splits: Tables of `train`, `val` and `test`, or of `all`.
        validation: Fraction to hold out for validation.
        test: Fraction to hold out for the test.
        seed: Of the choice.
    """

    def hold_out(table: TextTable, fraction: float) -> tuple[TextTable, TextTable]:
        groups = table.groups
        labelled = np.flatnonzero(groups >= 0)
        rest, held = stratified_hold_out(groups[labelled], fraction, seed)
        kept = np.sort(np.concatenate([labelled[rest], np.flatnonzero(groups < 0)]))
        return table.select(kept), table.select(labelled[held])

    return divide_splits(splits, hold_out, validation=validation, test=test)


def limited(table: TextTable, limit: int | None, seed: int) -> TextTable:
    """At most `limit` rows, balanced by class."""
    return table if limit is None or limit >= len(table) else table.select(balanced_subset(table.groups, limit, seed))


def withhold(table: TextTable, labelled: int | None, seed: int) -> TextTable:
    """The table in which only `labelled` rows, balanced by class, keep their target."""
    if labelled is None:
        return table
    groups = table.groups
    known = np.flatnonzero(groups >= 0)
    kept = known[balanced_subset(groups[known], labelled, seed)]
    return table.without_targets(np.setdiff1d(known, kept))
