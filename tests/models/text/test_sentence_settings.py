import json

import pytest

from compress.core.errors import ModelError
from compress.models.text.sentence_settings import SentenceSettings, sentence_settings


def folder(path, parts=("Transformer", "Pooling", "Normalize"), **modes):
    modules = [{"idx": index, "type": f"sentence_transformers.models.{part}"} for index, part in enumerate(parts)]
    path.mkdir()
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 8, **modes}))


def test_a_recipe_changes_what_the_folder_says(tmp_path):
    folder(tmp_path / "net", ("Transformer", "Pooling"), pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    assert sentence_settings("net", {}, tmp_path) == SentenceSettings(pooling="cls", normalize=False)
    given = sentence_settings("net", {"pooling": "max", "dimensions": 4, "hidden_size": 9}, tmp_path)
    assert given == SentenceSettings(pooling="max", normalize=False, dimensions=4)
    assert sentence_settings("other", {}, tmp_path) == SentenceSettings(pooling="mean", normalize=True)


def test_other_parts_and_settings_are_refused(tmp_path):
    folder(tmp_path / "dense", ("Transformer", "Pooling", "Dense"), pooling_mode_mean_tokens=True)
    with pytest.raises(ModelError, match="makes its vectors by Transformer, Pooling, Dense"):
        sentence_settings("dense", {}, tmp_path)
    folder(tmp_path / "two", pooling_mode_mean_tokens=True, pooling_mode_max_tokens=True)
    with pytest.raises(ModelError, match="pooling_mode_mean_tokens, pooling_mode_max_tokens; taken are one pooling"):
        sentence_settings("two", {}, tmp_path)
    with pytest.raises(ModelError, match=r"hf:net: args\.pooling is 'median': .*'mean'"):
        sentence_settings("net", {"pooling": "median"}, tmp_path)
    (tmp_path / "two" / "modules.json").write_text("{")
    with pytest.raises(ModelError, match=r"holds no readable modules\.json and pooling"):
        sentence_settings("two", {}, tmp_path)
