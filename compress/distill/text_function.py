"""Call a function of the user on texts, and say of which text it failed. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compress.core.errors import CompressError
from compress.core.language import gettext
from compress.core.printable import shorten

PATTERN = r"^python:.+\.py:[A-Za-z_]\w*$"
"""Such as `python:FILE.py:FUNCTION`."""
SHOWN = 120
"""Characters of a text in a message."""


def call_on_text(source: str, function: Callable[..., Any], prompt: str, text: str, *others: object) -> object:
    """What the function returns.

    Args:
        source: Its name in the recipe, for the message.
        function: Called with prompt, text and the others.
        prompt: The prompt.
        text: Text that was written to it.
        others: Further arguments, such as a reference.

    Raises:
        CompressError: It raises.
    """
    try:
        return function(prompt, text, *others)
    except Exception as error:  # the user's code raises errors of any kind
        raise text_fault(source, prompt, text, f"{type(error).__name__}: {error}") from error


def text_fault(source: str, prompt: str, text: str, reason: str) -> CompressError:
    """The error that a function failed on a text."""
    return CompressError(
        gettext(
            "{function} failed on prompt {prompt!r} with the text {text!r}: {reason}",
            function=source,
            prompt=shorten(prompt, SHOWN),
            text=shorten(text, SHOWN),
            reason=reason,
        )
    )
