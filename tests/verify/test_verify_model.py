"""`compress verify` of artifacts of networks that write texts, from the command line."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

pytest.importorskip("transformers")

from compress.cli import app
from compress.core.errors import DataError
from tests.verify.writing_artifacts import language_recipe, response_recipe


def run(*arguments):
    return CliRunner().invoke(app, ["verify", *map(str, arguments), "--isa", "native", "--samples", "2"])


def test_the_folder_of_an_artifact_is_verified_by_the_texts_it_writes(language_artifact, response_artifact, tmp_path):
    rows = response_artifact[0].parents[1] / "rows.jsonl"
    for folder, recipe in (
        (language_artifact[0], language_recipe(tmp_path)),
        (response_artifact[0], response_recipe(rows, tmp_path)),
    ):
        found = run(folder, "--data", recipe, "--json")
        assert found.exit_code == 0, found.output
        quantities = json.loads(found.stdout)["quantities"]
        assert quantities["identical_texts"]["value"] == 1.0
        assert quantities["max_abs"]["unit"] == "logit"


def test_the_table_names_tokens_and_texts(language_artifact, tmp_path):
    shown = run(language_artifact[0], "--data", language_recipe(tmp_path)).output
    assert "identical texts" in shown
    assert "tokens before the first different one" in shown
    assert "prompts of 2 of" in shown


def test_without_a_recipe_the_file_reads_noise_and_two_sources_are_refused(language_artifact, tmp_path):
    assert "noise" in run(language_artifact[0]).output
    found = run(language_artifact[0], "--data", language_recipe(tmp_path), "--images", tmp_path)
    assert isinstance(found.exception, DataError)
