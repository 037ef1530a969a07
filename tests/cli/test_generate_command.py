"""`compress generate`: the text on stdout, the times on stderr, JSON, and errors without a traceback."""

import json

import pytest
from typer.testing import CliRunner

from compress.cli.commands import app
from compress.core.errors import DataError


def generate(*arguments):
    return CliRunner().invoke(app, ["generate", *map(str, arguments)])


def test_a_text_is_continued(language_artifact):
    folder, _ = language_artifact
    result = generate(folder, "river stone", "--max-new-tokens", 6)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip()
    assert "6 generated" in result.stderr
    record = json.loads(generate(folder, "river stone", "--max-new-tokens", 6, "--json").stdout)
    assert record["text"] == result.stdout.rstrip("\n")
    assert len(record["tokens"]) == 6
    assert record["prompt_tokens"] >= 2
    assert record["decode_tokens_per_s"] > 0


def test_samples_repeat_with_their_seed(language_artifact):
    folder, _ = language_artifact
    options = ("--max-new-tokens", 12, "--temperature", 1.5, "--top-p", 0.9, "--json")
    first, again, other = (json.loads(generate(folder, "river", *options, "--seed", seed).stdout) for seed in (1, 1, 2))
    assert first["tokens"] == again["tokens"] != other["tokens"]


def test_a_prompt_over_the_context_is_refused(language_artifact):
    result = generate(language_artifact[0], "river stone " * 60)
    assert isinstance(result.exception, DataError)


@pytest.mark.parametrize("option", [("--top-p", "2"), ("--temperature", "-1"), ("--max-new-tokens", "0")])
def test_options_out_of_range_are_refused(option, language_artifact):
    assert generate(language_artifact[0], "river", *option).exit_code == 2
