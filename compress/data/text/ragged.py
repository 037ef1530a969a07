"""Rows of different lengths, one after the other, and their padding to the longest of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Ragged:
    """N rows of different lengths.

    Attributes:
        values: All rows, one after the other, int32 (T,).
        offsets: Start of each row, and T, int64 (N + 1,).
        padding: Value that fills shorter rows.
    """

    values: Tensor
    offsets: Tensor
    padding: int = 0

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]], padding: int = 0) -> Ragged:
        """Rows of integers."""
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        lengths = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        values = np.concatenate(arrays) if arrays else np.zeros(0, np.int32)
        return cls(torch.from_numpy(values), torch.from_numpy(lengths), padding)

    def __len__(self) -> int:
        """N."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        """Length of each row, int64 (N,)."""
        return self.offsets[1:] - self.offsets[:-1]

    def row(self, index: int) -> Tensor:
        """One row, int32 (L,)."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def padded(self, rows: Tensor) -> Tensor:
        """These rows, filled with `padding` to the longest of them.

        Args:
            rows: Indices, int64 (R,).

        Returns:
            int64 (R, L).
        """
        starts, lengths = self.offsets[rows], self.lengths[rows]
        steps = torch.arange(max(1, int(lengths.max()) if len(rows) else 1))
        inside = steps < lengths[:, None]
        places = (starts[:, None] + steps).clamp(max=max(0, len(self.values) - 1))
        values = self.values[places] if len(self.values) else torch.zeros_like(places)
        return values.long().where(inside, torch.tensor(self.padding))

    def joined(self, other: Ragged) -> Ragged:
        """These rows, then those of another one."""
        offsets = torch.cat([self.offsets, other.offsets[1:] + self.offsets[-1]])
        return Ragged(torch.cat([self.values, other.values]), offsets, self.padding)

    def select(self, rows: Tensor) -> Ragged:
        """These rows.

        Args:
            rows: Indices, int64 (R,).
        """
        return Ragged.of([self.row(int(index)).numpy() for index in rows], self.padding)  # type: ignore[misc]
