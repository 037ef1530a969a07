import pytest

pytest.importorskip("tokenizers")

from tokenizers import Tokenizer, models

from compress.data.text.settings import TrainedTokenizer
from compress.data.text.tokenizer_cache import remembered

SETTINGS = TrainedTokenizer(train="unigram")


def test_a_tokenizer_is_trained_once_for_the_same_texts(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path))
    trained = []

    def train():
        trained.append(Tokenizer(models.WordLevel({"a": len(trained)}, "a")))
        return trained[-1]

    first, again, other = (remembered(SETTINGS, texts, train).to_str() for texts in (["x"], ["x"], ["y"]))
    assert first == again != other
    assert len(trained) == 2


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "file"))
    assert remembered(SETTINGS, ["x"], lambda: Tokenizer(models.WordLevel({"a": 0}, "a"))).token_to_id("a") == 0
