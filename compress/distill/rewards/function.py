"""Reward by a function of the user. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from compress.core.errors import CompressError
from compress.core.language import gettext
from compress.core.printable import shorten
from compress.distill.rewards.base import RewardedText, TextReward

if TYPE_CHECKING:
    from compress.core.stage import Context

SHOWN = 120
"""Characters of a text in a message."""


class FunctionReward(TextReward):
    """`function`: a Python function, such as one that runs a program or asks a judge.

    Attributes:
        function: `python:FILE.py:FUNCTION`, called with prompt, text and reference; returns a finite number. Needs
            --trust-code.
    """

    function: str = Field(pattern=r"^python:.+\.py:[A-Za-z_]\w*$")

    def rewards(self, texts: Sequence[RewardedText], context: Context) -> list[float]:
        """What the function returns for each text.

        Raises:
            CompressError: It raises, or returns something else; the message shows the text.
        """
        from compress.core.trusted_code import load_function

        function = load_function(self.function.removeprefix("python:"), context.base, context.trust_code)
        found = []
        for each in texts:
            try:
                value = function(each.prompt, each.text, each.reference)
            except Exception as error:  # the user's code raises errors of any kind
                raise self._fault(each, f"{type(error).__name__}: {error}") from error
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise self._fault(each, gettext("it returned {found!r}, not a finite number", found=value))
            found.append(float(value))
        return found

    def _fault(self, text: RewardedText, reason: str) -> CompressError:
        return CompressError(
            gettext(
                "{function} failed on prompt {prompt!r} with the text {text!r}: {reason}",
                function=self.function,
                prompt=shorten(text.prompt, SHOWN),
                text=shorten(text.text, SHOWN),
                reason=reason,
            )
        )
