"""The catalogue has every message of the source, and no other; its translations keep the fields."""

from __future__ import annotations

import pytest

from compress.core.language import LANGUAGES
from tests import message_catalogue as catalogue

TRANSLATED = LANGUAGES[1:]


@pytest.fixture(scope="module")
def source():
    return set(catalogue.messages())


@pytest.fixture(scope="module", params=TRANSLATED)
def entries(request):
    return [entry for entry in catalogue.read(request.param) if entry.id]


def _texts(entry):
    return [(entry.id, entry.string)] if isinstance(entry.id, str) else [(entry.id[1], text) for text in entry.string]


def test_the_catalogue_has_the_messages_of_the_source(source, entries):
    written = {entry.id for entry in entries}
    assert not source - written, "run python -m tests.message_catalogue and translate the new messages"
    assert not written - source, "run python -m tests.message_catalogue to remove obsolete messages"


def test_every_message_is_translated(entries):
    assert not [
        entry.id for entry in entries if entry.fuzzy or not all(text.strip() or not key.strip() for key, text in _texts(entry))
    ]


def test_translations_keep_fields_conversions_and_braces(entries):
    different = [
        (key, text)
        for entry in entries
        for key, text in _texts(entry)
        if catalogue.fields(key) != catalogue.fields(text) or any(key.count(mark) != text.count(mark) for mark in ("{{", "|"))
    ]
    assert not different


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_compiled_catalogue_is_that_of_the_text(language):
    path = catalogue.path_of(language)
    assert path.with_suffix(".mo").read_bytes() == catalogue.compiled(catalogue.read(language)), (
        "run python -m tests.message_catalogue"
    )


@pytest.mark.parametrize("text", ["{a} of {b!r:.3g}", "{{x}} {a:,}", "{}"])
def test_fields_are_those_of_a_template_without_literal_braces(text):
    fields = {"{a} of {b!r:.3g}": {"{a}", "{b!r:.3g}"}, "{{x}} {a:,}": {"{a:,}"}, "{}": {"{}"}}
    assert catalogue.fields(text) == fields[text]
