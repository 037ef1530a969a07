"""Keep texts whose answer is the response of the data: rejection sampling of reasoning. Imports no torch.

Zelikman et al. 2022, STaR, arXiv:2203.14465; Yuan et al. 2023, arXiv:2308.01825.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.distill.prompts.filters.base import TextFilter

if TYPE_CHECKING:
    from compress.core.stage import Context
    from compress.distill.prompts.written_text import WrittenText


class RightAnswerFilter(TextFilter):
    """`right_answer`: texts whose answer is the response of the data, but for white space at the ends."""

    needs_reference: ClassVar[bool] = True

    def keep(self, texts: Sequence[WrittenText], context: Context) -> list[WrittenText]:  # noqa: ARG002
        """Texts with the right answer.

        Raises:
            DataError: A prompt has no response in the data.
        """
        if any(each.reference is None for each in texts):
            msg = gettext(
                "the filter right_answer compares with responses of the data, and prompts of templates without {prompt} have "
                "none; use checker: {function: python:FILE.py:NAME}, or agreement"
            )
            raise DataError(msg)
        return [each for each in texts if each.reference is not None and each.answer.strip() == each.reference.strip()]
