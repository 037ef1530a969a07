"""Text of any origin, made safe to show: control characters reach neither a terminal nor a report."""

from __future__ import annotations

from typing import Final

REPLACEMENT = 0xFFFD
_DIRECTION = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Marks that change the order in which the text after them is shown."""
_LINE_ENDS = (0x0B, 0x0C, 0x85, 0x2028, 0x2029)
"""Characters that end a line for Python or a browser, but not for a table."""
_TABLE: Final = (
    {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"}
    | {0x7F: 0x2421}
    | dict.fromkeys((*range(0x80, 0xA0), *_DIRECTION, *_LINE_ENDS, *range(0xD800, 0xE000)), REPLACEMENT)
)


def printable(text: str) -> str:
    """The text with every control character but tab and line feed replaced by a visible one, one for one.

    ASCII controls become their Unicode pictures (`␛` for escape); the others, marks of writing direction and half surrogate
    pairs become `�`.
    """
    return text.translate(_TABLE)
