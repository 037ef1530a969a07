"""`--lang` may stand anywhere; help texts come from the catalogue."""

from __future__ import annotations

import pytest
import typer

from compress.cli import app
from compress.cli.language_option import help_message, parts_with_help, take_language
from compress.core.errors import CompressError
from compress.core.language import VARIABLE, language


@pytest.mark.parametrize(
    ("given", "rest"),
    [
        (["--lang", "zh", "check", "run"], ["check", "run"]),
        (["check", "run", "--lang=zh"], ["check", "run"]),
        (["check", "--lang=en", "run", "--lang", "zh"], ["check", "run"]),
    ],
)
def test_the_option_is_taken_wherever_it_stands(monkeypatch, given, rest):
    monkeypatch.setenv(VARIABLE, "en")
    assert take_language(given) == rest
    assert language() == "zh"


def test_other_arguments_stay_as_they_are(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    given = ["profile", "--language", "x", "--", "--lang", "zh"]
    assert take_language(given) == given
    assert language() == "en"


@pytest.mark.parametrize("given", [["--lang", "de"], ["--lang"], ["--lang="]])
def test_an_unknown_language_is_an_error_that_names_the_known_ones(monkeypatch, given):
    monkeypatch.setenv(VARIABLE, "en")
    with pytest.raises(CompressError, match=r"--lang is '.*'; allowed: en, zh"):
        take_language(given)


def test_a_help_text_is_one_line_for_each_paragraph():
    texts = [help_message(part) for part in parts_with_help(typer.main.get_command(app))]
    assert "Print the version and exit." in texts
    assert all("\n" not in text.replace("\n\n", "") for text in texts)
