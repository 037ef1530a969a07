"""Text from any source without control characters, for terminals and reports."""

from __future__ import annotations

from typing import Final

REPLACEMENT = 0xFFFD
_DIRECTION = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters that change the writing direction of the text after them."""
_LINE_ENDS = (0x0B, 0x0C, 0x85, 0x2028, 0x2029)
"""Characters that end a line in Python or a browser, but not in a table."""
_TABLE: Final = (
    {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"}
    | {0x7F: 0x2421}
    | dict.fromkeys((*range(0x80, 0xA0), *_DIRECTION, *_LINE_ENDS, *range(0xD800, 0xE000)), REPLACEMENT)
)


LONGEST_WORD = 20
"""Characters; a longer last word is cut, as in text without blanks."""


def printable(text: str) -> str:
    """The text with every control character except tab and line feed replaced by a visible one.

    ASCII control characters become their Unicode pictures (`␛` for escape); others, direction marks and single surrogates
    become `�`.
    """
    return text.translate(_TABLE)


def shorten(text: str, characters: int) -> str:
    """Text of at most this many characters; an ellipsis stands for the rest, from the end of a word if one is near."""
    if len(text) <= characters:
        return text
    start = text[: characters - 1]
    end = len(start) if text[characters - 1].isspace() else start.rfind(" ")
    return f"{start[: end if end > max(0, len(start) - LONGEST_WORD) else None].rstrip()}…"
