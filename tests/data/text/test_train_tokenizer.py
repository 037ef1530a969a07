import pytest

pytest.importorskip("tokenizers")

from compress.core.errors import DataError
from compress.data.text.settings import TrainedTokenizer
from compress.data.text.train_tokenizer import SPECIAL, train_tokenizer
from tests.data.text.toy_texts import toy_rows


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))


TEXTS = [text for text, _ in toy_rows(200)]
CHINESE = ["这家酒店的服务很好", "房间很小而且不干净", "酒店位置不错,服务也好", "早餐很差,房间不好"] * 5


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_each_kind_has_the_special_tokens_and_no_unknown_word_of_its_texts(kind):
    trained = train_tokenizer(TrainedTokenizer(train=kind, vocabulary=400), TEXTS, 64)
    vocabulary = trained.tokenizer.get_vocab()
    assert [vocabulary[name] for name in SPECIAL] == [0, 1, 2, 3, 4]
    assert trained.vocabulary <= 400
    assert (trained.pad_id, trained.has_pad) == (0, True)
    encoded = trained.encode(TEXTS)
    assert not (encoded.ids.values == 1).any()
    assert trained.tokenizer.decode(encoded.ids.row(0).tolist()).strip() == TEXTS[0]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_chinese_texts_have_known_tokens(kind):
    trained = train_tokenizer(TrainedTokenizer(train=kind, vocabulary=300), CHINESE, 64)
    encoded = trained.encode(["服务很好房间不干净"])
    assert not (encoded.ids.values == 1).any()
    assert encoded.ids.lengths[0] > 3


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_training_repeats_itself(kind):
    settings = TrainedTokenizer(train=kind, vocabulary=290)
    assert train_tokenizer(settings, TEXTS, 64).file == train_tokenizer(settings, TEXTS, 64).file


def test_letter_case_is_kept_where_asked():
    kept = train_tokenizer(TrainedTokenizer(train="wordpiece", vocabulary=100, lowercase=False), ["Cat cat"], 8)
    assert len(set(kept.encode(["Cat", "cat"]).ids.values.tolist())) == 4


def test_empty_texts_are_refused():
    with pytest.raises(DataError, match="empty"):
        train_tokenizer(TrainedTokenizer(train="bpe"), ["", " "], 8)
