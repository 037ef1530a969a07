"""Keep texts that a function of the user accepts. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from compress.core.errors import CompressError
from compress.core.language import gettext
from compress.core.printable import shorten
from compress.distill.prompts.filters.base import TextFilter

if TYPE_CHECKING:
    from compress.core.stage import Context
    from compress.distill.prompts.written_text import WrittenText

SHOWN = 120
"""Characters of a text in a message."""


class CheckerFilter(TextFilter):
    """`checker`: texts that a function accepts, such as one that runs a program or computes the answer.

    Attributes:
        function: `python:FILE.py:FUNCTION`, called with prompt, text, answer and reference (None where none is known); returns
            whether the text is kept. Needs --trust-code.
    """

    function: str = Field(pattern=r"^python:.+\.py:[A-Za-z_]\w*$")

    def keep(self, texts: Sequence[WrittenText], context: Context) -> list[WrittenText]:
        """Texts for which the function returns True.

        Raises:
            CompressError: The function raises, or returns something else than True or False.
        """
        from compress.core.trusted_code import load_function

        function = load_function(self.function.removeprefix("python:"), context.base, context.trust_code)
        kept = []
        for each in texts:
            try:
                found = function(each.prompt, each.text, each.answer, each.reference)
            except Exception as error:  # the user's code raises errors of any kind
                raise self._fault(each, f"{type(error).__name__}: {error}") from error
            if not isinstance(found, bool):
                raise self._fault(each, gettext("it returned {found!r}, not True or False", found=found))
            if found:
                kept.append(each)
        return kept

    def _fault(self, text: WrittenText, reason: str) -> CompressError:
        return CompressError(
            gettext(
                "{function} failed on prompt {prompt!r} with the text {text!r}: {reason}",
                function=self.function,
                prompt=shorten(text.prompt, SHOWN),
                text=shorten(text.text, SHOWN),
                reason=reason,
            )
        )
