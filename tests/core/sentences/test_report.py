"""Words of the report."""

import re
import string
from pathlib import Path

import compress.pipeline as pipeline
from compress.core.sentences.report import WORDS, headers

ROOMS = [Path(pipeline.__file__).parent / name for name in ("report", "review")]


def test_every_word_is_used_and_every_used_word_is_there() -> None:
    sources = [path.read_text(encoding="utf-8") for room in ROOMS for path in (*room.rglob("*.py"), *room.rglob("*.j2"))]
    text = "\n".join(sources)
    used = set(re.findall(r"""\bword\(\s*f?["']([a-z_.]+[a-z])["']""", text)) | set(
        re.findall(r'headers\(\s*"([a-z_.]+)"', text)
    )
    used |= set(re.findall(r'"(rebuild\.[a-z_.]+)"', text))
    assert used <= WORDS.keys()
    prefixes = ("front.change.", "review.")  # their last part is a value
    assert {key for key in WORDS.keys() - used if not key.startswith(prefixes)} == set()


def test_every_template_is_valid() -> None:
    for key, text in WORDS.items():
        names = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
        assert all(name.isidentifier() for name in names), key


def test_headers_are_filled_one_by_one() -> None:
    assert headers("classes.confusions.header", reference="a|b") == ("class", "taken for", "a|b", "artifact", "change")
