import pytest

pytest.importorskip("tokenizers")

from tokenizers import Tokenizer

from compress.core.errors import DataError
from compress.data.interface import Data
from compress.data.text.settings import TrainedTokenizer
from tests.data.text.toy_texts import toy_rows

SMALL = TrainedTokenizer(train="wordpiece", vocabulary=100)
ROWS = toy_rows(30)


def made(rows=ROWS, **fields):
    return Data.from_texts(rows[:20], rows[20:24], rows[24:], **{"tokenizer": SMALL, "most": 16, **fields})


def test_texts_with_classes():
    data = made()
    assert data.spec.classes == ("bad", "good")
    assert data.source == "python"
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 4, 6)
    assert data.spec.text.max_length == 16


def test_a_tokenizer_of_the_package_is_used():
    first = made()
    again = made(tokenizer=Tokenizer.from_str(first.files["tokenizer.json"].decode()))
    assert again.spec == first.spec
    assert again.train.fingerprint == first.train.fingerprint


def test_pairs_and_values():
    data = made([(text, "a cat", index / 10) for index, (text, _) in enumerate(ROWS)], targets="values", names=["score"])
    assert data.spec.text.pairs
    assert data.spec.classes == ("score",)
    assert data.train.targets["target"].shape == (20, 1)
    assert made([text for text, _ in ROWS]).spec.classes == ()


def test_mixed_samples_are_refused():
    with pytest.raises(DataError, match=r"train: samples are all texts"):
        made([*ROWS[:5], "a text", *ROWS[6:]])
    with pytest.raises(DataError, match="texts are str"):
        made([(1, "a")] * 30)


def test_groups_are_of_the_test_texts():
    assert made(groups=["a", "b"] * 3).groups == ("a", "b") * 3
    with pytest.raises(DataError, match="groups has 2 entries, and the test split has 6 samples"):
        made(groups=["a", "b"])


def test_pairs_with_scores_are_data_of_vectors():
    pairs = [(text, text[::-1], float(row % 3)) for row, (text, _) in enumerate(ROWS)]
    data = made(pairs, targets="scores")
    assert len(data.test) == len(made().test)
    assert not data.spec.classes
