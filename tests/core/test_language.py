"""Messages come from the catalogue of the language in use, and stay English without a translation."""

from __future__ import annotations

import ast
import copy
import pickle
import threading
from pathlib import Path

import pytest

from compress.core import language
from compress.core.language import (
    VARIABLE,
    Translatable,
    again,
    gettext,
    in_language,
    in_language_of_recipe,
    joined,
    ngettext,
)


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


def test_a_message_can_be_said_in_another_language_with_the_messages_in_it():
    inner = gettext("not measured")
    text = joined((gettext("{limit} could not be measured: {reason}: not passed", limit="x", reason=inner), "y"))
    with in_language("zh"):
        assert again(text) == "无法测量x：未测量：未通过；y"
        assert again(ngettext("{number} class", "{number} classes", 1)) == "1 个类别"
        assert gettext("{text}: {reason}", text=inner, reason="z") == "未测量：z"
        assert again("a plain text") == "a plain text"
    assert text == "x could not be measured: not measured: not passed; y"


def test_a_message_keeps_no_object_alive_and_a_format_that_only_the_object_has_leaves_it_as_it_is():
    class Year:
        def __format__(self, form):
            return f"{form}-2026"

        def __str__(self):
            return "year"

    text = gettext("since {year:ad}", year=Year())
    assert text == "since ad-2026"
    assert text.values == {"year": "year"}
    with in_language("zh"):
        assert again(text) == "since ad-2026"


def test_a_message_is_pickled_as_a_plain_text_and_copied_as_itself():
    text = gettext("{count} of {total} limits missed: {names}.", count=1, total=2, names="x")
    assert type(pickle.loads(pickle.dumps(text))) is str  # noqa: S301  # made here
    assert isinstance(copy.deepcopy(text), Translatable)


def test_a_message_without_values_is_no_template():
    doubled = []
    for path in sorted(Path(language.__file__).parents[1].rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "gettext" and not node.keywords:
                doubled += [text.value for text in node.args if isinstance(text, ast.Constant) and "{{" in str(text.value)]
    assert doubled == []


def test_a_signed_number_has_a_minus_sign_and_an_unsigned_one_what_was_given():
    assert gettext("{change:+.1%} in {name}", change=-0.031, name="a-b") == "−3.1% in a-b"
    assert gettext("got {value}", value=-1) == "got -1"
