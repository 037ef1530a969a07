import json

import pytest

pytest.importorskip("tokenizers")

from compress.core.errors import DataError
from compress.data.text.fingerprint import tokenizer_files
from compress.data.text.settings import TrainedTokenizer
from compress.data.text.tokenizer_files import load_tokenizer
from compress.data.text.train_tokenizer import train_tokenizer


@pytest.fixture
def folder(tmp_path):
    trained = train_tokenizer(TrainedTokenizer(train="wordpiece", vocabulary=60), ["the cat runs near the house"], 64)
    trained.tokenizer.enable_truncation(3)  # as many published files have
    (tmp_path / "tokenizer.json").write_text(trained.tokenizer.to_str(), encoding="utf-8")
    return tmp_path


def test_a_file_and_its_folder_give_the_same_tokenizer(folder):
    first, second = (load_tokenizer(name, folder.parent, 16) for name in (folder.name, f"{folder.name}/tokenizer.json"))
    assert first.file == second.file
    assert first.max_length == 16
    assert first.encode(["the cat runs near the house"]).ids.lengths.tolist() == [8]
    assert tokenizer_files(folder.name, folder.parent) == (folder / "tokenizer.json",)


@pytest.mark.parametrize(("config", "most"), [({"model_type": "bert"}, 20), ({"model_type": "roberta", "pad_token_id": 1}, 18)])
def test_the_network_beside_it_limits_the_length(folder, config, most):
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 20, **config}))
    assert load_tokenizer(str(folder), folder, 64).max_length == most


def test_the_padding_token_is_that_of_the_configuration(folder):
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "[MASK]"}}))
    assert load_tokenizer(str(folder), folder, 64).pad_id == 4


def test_a_tokenizer_without_a_padding_token_says_so(tmp_path):
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0, "b": 1}, "b")).save(str(tmp_path / "tokenizer.json"))
    read = load_tokenizer(str(tmp_path), tmp_path, 64)
    assert (read.pad_id, read.has_pad) == (0, False)


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"is no tokenizer\.json"):
        load_tokenizer(str(tmp_path), tmp_path, 64)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")

    def refuse(*_, **__):
        raise OSError("no files")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", refuse)
    with pytest.raises(DataError, match="no tokenizer in"):
        load_tokenizer(str(tmp_path), tmp_path, 64)
