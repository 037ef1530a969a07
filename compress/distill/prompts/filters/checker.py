"""Keep texts that a function of the user accepts. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from compress.core.language import gettext
from compress.distill.prompts.filters.base import TextFilter
from compress.distill.text_function import PATTERN, call_on_text, text_fault

if TYPE_CHECKING:
    from compress.core.stage import Context
    from compress.distill.prompts.written_text import WrittenText


class CheckerFilter(TextFilter):
    """`checker`: texts that a function accepts, such as one that runs a program or computes the answer.

    Attributes:
        function: `python:FILE.py:FUNCTION`, called with prompt, text, answer and reference (None where none is known); returns
            whether the text is kept. Needs --trust-code.
    """

    function: str = Field(pattern=PATTERN)

    def keep(self, texts: Sequence[WrittenText], context: Context) -> list[WrittenText]:
        """Texts for which the function returns True.

        Raises:
            CompressError: The function raises, or returns something else than True or False.
        """
        from compress.core.trusted_code import load_function

        function = load_function(self.function.removeprefix("python:"), context.base, context.trust_code)
        kept = []
        for each in texts:
            found = call_on_text(self.function, function, each.prompt, each.text, each.answer, each.reference)
            if not isinstance(found, bool):
                raise text_fault(
                    self.function, each.prompt, each.text, gettext("it returned {found!r}, not True or False", found=found)
                )
            if found:
                kept.append(each)
        return kept
