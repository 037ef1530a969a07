"""Messages come from the catalogue of the language in use, and stay English without a translation."""

from __future__ import annotations

import threading

import pytest

from compress.core import language
from compress.core.language import VARIABLE, gettext, in_language, in_language_of_recipe, ngettext


def test_english_texts_are_their_own_catalogue():
    assert gettext("no such text: {braces}") == "no such text: {braces}"
    assert gettext("{count:.1f} of {name!r}", count=2, name="a{b}") == "2.0 of 'a{b}'"
    assert gettext("") == ""


@pytest.mark.parametrize(("number", "text"), [(0, "0 faults"), (1, "1 fault"), (2, "2 faults")])
def test_the_form_follows_the_number(number, text):
    assert ngettext("{number} fault", "{number} faults", number) == text


def test_the_language_is_that_of_the_block_then_of_the_environment(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert language.language() == "en"
    monkeypatch.setenv(VARIABLE, "zh")
    assert language.language() == "zh"
    with in_language("en"):
        assert language.language() == "en"
    monkeypatch.setenv(VARIABLE, "tlh")
    assert language.language() == "en"


def test_a_thread_has_the_language_of_the_environment(monkeypatch):
    monkeypatch.setenv(VARIABLE, "zh")
    seen = []
    thread = threading.Thread(target=lambda: seen.append(language.language()))
    thread.start()
    thread.join()
    assert seen == ["zh"]


def test_the_language_of_a_recipe_gives_way_to_that_of_a_block_and_of_the_environment(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with in_language_of_recipe("zh"):
        assert language.language() == "zh"
    with in_language_of_recipe(None):
        assert language.language() == "en"
    with in_language("en"), in_language_of_recipe("zh"):
        assert language.language() == "en"
    monkeypatch.setenv(VARIABLE, "en")
    with in_language_of_recipe("zh"):
        assert language.language() == "en"
