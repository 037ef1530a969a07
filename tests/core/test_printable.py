import pytest

from compress.core.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "␛[2J"),
        ("a\rb\x00\x7f", "a␍b␀␡"),
        ("\x9b31m", "�31m"),
        ("abc\u202egpj.exe", "abc�gpj.exe"),
        ("\ud800", "�"),
        ("a\tb\nc", "a\tb\nc"),
        ("größe × 3 名前 🙂", "größe × 3 名前 🙂"),
    ],
)
def test_control_characters_become_visible_and_text_stays(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_nothing_but_tab_and_line_feed_acts_on_a_terminal() -> None:
    every = "".join(map(chr, range(0x11000)))
    shown = printable(every)
    assert len(shown) == len(every)
    shown.encode()
    assert {character for character in shown if ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0} == {"\t", "\n"}
