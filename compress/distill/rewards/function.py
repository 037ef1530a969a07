"""Reward by a function of the user. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from compress.core.language import gettext
from compress.distill.rewards.base import RewardedText, TextReward
from compress.distill.text_function import PATTERN, call_on_text, text_fault

if TYPE_CHECKING:
    from compress.core.stage import Context


class FunctionReward(TextReward):
    """`function`: a Python function, such as one that runs a program or asks a judge.

    Attributes:
        function: `python:FILE.py:FUNCTION`, called with prompt, text and reference; returns a finite number. Needs
            --trust-code.
    """

    function: str = Field(pattern=PATTERN)

    def rewards(self, texts: Sequence[RewardedText], context: Context) -> list[float]:
        """What the function returns for each text.

        Raises:
            CompressError: It raises, or returns something else; the message shows the text.
        """
        from compress.core.trusted_code import load_function

        function = load_function(self.function.removeprefix("python:"), context.base, context.trust_code)
        found = []
        for each in texts:
            value = call_on_text(self.function, function, each.prompt, each.text, each.reference)
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise text_fault(
                    self.function, each.prompt, each.text, gettext("it returned {found!r}, not a finite number", found=value)
                )
            found.append(float(value))
        return found
