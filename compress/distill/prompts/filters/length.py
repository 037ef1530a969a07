"""Keep texts of some length that ended by themselves. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from compress.core.language import gettext
from compress.distill.prompts.filters.base import TextFilter

if TYPE_CHECKING:
    from compress.core.stage import Context
    from compress.distill.prompts.written_text import WrittenText


class LengthFilter(TextFilter):
    """`length`: texts whose length is in a range.

    Attributes:
        least: Fewest characters, without white space at the ends.
        most: Most characters; None for no limit.
        ended: Whether texts that reached the longest length, and were cut there, are removed.
    """

    least: int = Field(default=1, ge=0)
    most: int | None = Field(default=None, ge=1)
    ended: bool = True

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.most is not None and self.most < self.least:
            msg = gettext("length: most {most} is below least {least}", most=self.most, least=self.least)
            raise ValueError(msg)
        return self

    def keep(self, texts: Sequence[WrittenText], context: Context) -> list[WrittenText]:  # noqa: ARG002
        """Texts of `least` to `most` characters."""
        return [each for each in texts if (each.ended or not self.ended) and self._fits(len(each.text.strip()))]

    def _fits(self, length: int) -> bool:
        return length >= self.least and (self.most is None or length <= self.most)
