"""Remove texts that repeat themselves. Imports no torch.

    r_n = 1 − |distinct n-grams| / |n-grams|

Welleck et al. 2020, Neural text generation with unlikelihood training, arXiv:1908.04319, section 6.1 (seq-rep-n).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from compress.distill.prompts.filters.base import TextFilter

if TYPE_CHECKING:
    from compress.core.stage import Context
    from compress.distill.prompts.written_text import WrittenText


def repetition(text: str, n: int) -> float:
    """r_n of the words of a text, in [0, 1); of its characters where it is a single word. 0 without an n-gram.

    Args:
        text: The text.
        n: Words of an n-gram.
    """
    parts: Sequence[str] = text.split()
    if len(parts) <= 1:
        parts = text.strip()
    grams = [tuple(parts[start : start + n]) for start in range(len(parts) - n + 1)]
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0


class RepetitionFilter(TextFilter):
    """`repetition`: texts with few repeated n-grams.

    Attributes:
        n: Words of an n-gram.
        most: Largest r_n of a text that is kept.
    """

    n: int = Field(default=4, ge=1, le=16)
    most: float = Field(default=0.3, ge=0.0, le=1.0)

    def keep(self, texts: Sequence[WrittenText], context: Context) -> list[WrittenText]:  # noqa: ARG002
        """Texts whose r_n is at most `most`."""
        return [each for each in texts if repetition(each.text, self.n) <= self.most]
