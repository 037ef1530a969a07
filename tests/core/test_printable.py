import pytest

from compress.core.printable import printable, shorten


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


@pytest.mark.parametrize(
    ("text", "characters", "shown"),
    [
        ("a core waits", 12, "a core waits"),
        ("a core waits for memory", 19, "a core waits for…"),
        ("a core waits for memory", 18, "a core waits for…"),
        ("a core waits for memory", 17, "a core waits for…"),
        ("x" * 40, 10, "x" * 9 + "…"),
        ("读取内存所需的时间", 5, "读取内存…"),
    ],
)
def test_a_text_is_shortened_at_the_end_of_a_word(text: str, characters: int, shown: str) -> None:
    assert shorten(text, characters) == shown
    assert len(shorten(text, characters)) <= characters
