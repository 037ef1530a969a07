"""The tokens that a pruned vocabulary keeps of a larger one, short enough for a specification."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from functools import cached_property
from typing import Self

from pydantic import Field

from compress.core.frozen_model import FrozenModel


class KeptTokens(FrozenModel):
    """The old number of each new token; new numbers are in the order of the old ones.

    Attributes:
        total: Number of tokens before.
        mask: Bit i of the bytes, the lowest first, is 1 where old token i is kept; zlib, then base64.
    """

    total: int = Field(ge=1)
    mask: str

    @classmethod
    def of(cls, numbers: Iterable[int], total: int) -> Self:
        """The tokens with these old numbers.

        Args:
            numbers: Old numbers in any order, each below `total`.
            total: Number of tokens before.
        """
        bits = bytearray((total + 7) // 8)
        for number in numbers:
            bits[number // 8] |= 1 << number % 8
        return cls(total=total, mask=base64.b64encode(zlib.compress(bytes(bits), 9)).decode("ascii"))

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Old number of each new token, increasing."""
        bits = zlib.decompress(base64.b64decode(self.mask))
        return tuple(number for number in range(self.total) if bits[number // 8] >> number % 8 & 1)
