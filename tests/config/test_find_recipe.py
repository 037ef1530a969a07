import os

import pytest

from compress.config.recipe import load, shipped
from compress.core.errors import RecipeError
from tests.config.small_recipe import SMALL


def test_a_recipe_is_found_as_a_path_in_pipelines_and_among_those_shipped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    for path in (tmp_path / "here.yaml", tmp_path / "pipelines" / "there.yaml"):
        path.write_text(SMALL)
    assert load("here.yaml").origin == load("here").origin == load(tmp_path / "here").origin == tmp_path / "here.yaml"
    assert load("there").origin == load("pipelines/there.yaml").origin == tmp_path / "pipelines" / "there.yaml"
    assert load("resnet50_to_mobilenet").origin in shipped()
    assert load("here").text == SMALL


def test_the_nearest_file_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet50_to_mobilenet.yaml").write_text(SMALL)
    assert load("resnet50_to_mobilenet.yaml").recipe.name == "small"


def test_relative_paths_start_from_a_users_recipe_but_from_the_working_folder_for_a_shipped_one(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "r.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    assert load("own/r.yaml").base == tmp_path / "own"
    assert load("resnet50_to_mobilenet").base == tmp_path


def test_a_missing_recipe_says_where_it_was_looked_for_and_what_is_near(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as caught:
        load("resnet50_to_mobilnet")
    text = str(caught.value)
    assert str(tmp_path) in text
    assert str(tmp_path / "pipelines") in text
    assert "did you mean 'resnet50_to_mobilenet.yaml'?" in text


def test_a_folder_is_no_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    with pytest.raises(RecipeError, match="is a folder"):
        load("sub")


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(RecipeError, match="UTF-8"):
        load(tmp_path / "r.yaml")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_said(tmp_path):
    (tmp_path / "r.yaml").write_text(SMALL)
    (tmp_path / "r.yaml").chmod(0)
    with pytest.raises(RecipeError, match="Permission denied"):
        load(tmp_path / "r.yaml")


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "r.yaml").write_text(SMALL, encoding="utf-8-sig")
    assert load(tmp_path / "r.yaml").recipe.name == "small"
