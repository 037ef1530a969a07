"""Forms of texts in which they are compared."""

from __future__ import annotations

import pytest

from compress.tasks.audio.normalise_text import normaliser


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("none", " Press  ONE. ", "Press ONE."),
        ("basic", "Press 'one', please - don\N{RIGHT SINGLE QUOTATION MARK}t hang up.", "press one please don't hang up"),
        (
            "basic",
            "\N{CYRILLIC CAPITAL LETTER DE}\N{CYRILLIC SMALL LETTER A}!",
            "\N{CYRILLIC SMALL LETTER DE}\N{CYRILLIC SMALL LETTER A}",
        ),
        ("english", "Fifteen, and don't!", "15 and do not"),
    ],
)
def test_spellings_of_the_same_words_become_equal(form: str, text: str, expected: str) -> None:
    if form == "english":
        pytest.importorskip("transformers")
    assert normaliser(form)(text) == expected  # type: ignore[arg-type]
