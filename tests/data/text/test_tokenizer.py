import pytest

pytest.importorskip("tokenizers")

from tokenizers import Tokenizer

from compress.data.text.settings import TrainedTokenizer
from compress.data.text.train_tokenizer import train_tokenizer

TEXTS = ["a cat sleeps near the house", "the old dog runs", "a bird eats slowly under the tree"] * 4


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TrainedTokenizer(train="wordpiece", vocabulary=200), TEXTS, 12)


def test_texts_are_cut_and_counted(tokenizer):
    encoded = tokenizer.encode(["the cat", "the cat " * 30, "", "  "])
    assert encoded.ids.lengths.tolist() == [4, 12, 2, 2]
    assert (encoded.cut, encoded.empty) == (1, 2)
    assert encoded.ids.row(1)[-1] == encoded.ids.row(0)[-1] == tokenizer.tokenizer.token_to_id("[SEP]")


def test_its_file_gives_the_same_tokens_padded(tokenizer):
    texts = ["the cat", "the old dog runs " * 5]
    own = tokenizer.encode(texts)
    read = Tokenizer.from_str(tokenizer.file.decode()).encode_batch(texts)
    assert [each.ids for each in read] == own.ids.padded(own.ids.offsets[:2] * 0 + own.ids.offsets.new_tensor([0, 1])).tolist()
    assert len(tokenizer.sha256) == 64
    assert tokenizer.vocabulary == tokenizer.tokenizer.get_vocab_size()


def test_the_second_text_of_a_pair_has_another_type(tokenizer):
    encoded = tokenizer.encode(["the cat"], ["a dog"])
    assert encoded.types.row(0).tolist() == [0, 0, 0, 0, 1, 1, 1]
