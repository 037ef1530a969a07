import pytest

pytest.importorskip("tokenizers")

from compress.core.errors import DataError
from compress.data.sources.text.parts_of_texts import tagged_text
from compress.data.text.settings import TrainedTokenizer
from compress.data.text.table import TextTable
from compress.data.text.tag_targets import tag_names, tag_targets
from compress.data.text.train_tokenizer import train_tokenizer

TEXTS = ["anna lives in newtown, near anna's brother", "bob sees newtown"]


def table(rows):
    texts, targets = zip(*(tagged_text(text, tags, "row") for text, tags in rows), strict=True)
    return TextTable(list(texts), targets=list(targets))


def tokenizer(kind, most=32):
    return train_tokenizer(TrainedTokenizer(train=kind, vocabulary=60 if kind == "wordpiece" else 300), TEXTS, most)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_the_first_token_of_a_word_has_its_tag(kind):
    words, tags = ["Anna", "in", "Newtown,"], ["B-PER", "O", "B-LOC"]
    rows = table([(words, tags)])
    made = tokenizer(kind)
    names = tag_names([rows])
    assert names == ("O", "B-LOC", "B-PER")
    encoding = made.encodings(rows.texts)[0]
    found = tag_targets([encoding], rows, names).row(0).tolist()
    tagged = [place for place, tag in enumerate(found) if tag >= 0]
    assert [names[found[place]] for place in tagged] == tags
    text = rows.texts[0].lower()
    for place, word in zip(tagged, words, strict=True):
        first, last = encoding.offsets[place]
        assert word.lower().startswith(text[first:last].strip() or word[0].lower())
    assert found[0] == found[-1] == -1


def test_spans_become_tags_of_the_words_of_the_tokenizer():
    text = "Anna Bob, of Newtown."
    rows = table([(text, [[0, 8, "PER"], [13, 20, "LOC"]]), ("bob", [])])
    names = tag_names([rows])
    assert names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    encodings = tokenizer("wordpiece").encodings(rows.texts)
    encoding, found = encodings[0], tag_targets(encodings, rows, names).row(0).tolist()
    tagged = {text[slice(*encoding.offsets[place])][:1]: names[tag] for place, tag in enumerate(found) if tag >= 0}
    assert tagged == {"A": "B-PER", "B": "I-PER", ",": "O", "o": "O", "N": "B-LOC", ".": "O"}


def test_unknown_tags_and_texts_without_tags_are_refused():
    train, test = table([("a b", "O B-X")]), table([("a b", "O B-Y")])
    with pytest.raises(DataError, match="no training text has the tag 'B-Y'"):
        tag_names([train, test])
    with pytest.raises(DataError, match="no training text has tags"):
        tag_names([table([("a b", None)])])


def test_a_text_without_tags_counts_for_distillation_alone():
    rows = table([("anna lives", None)])
    encoding = tokenizer("wordpiece").encodings(rows.texts)[0]
    assert set(tag_targets([encoding], rows, ("O", "B-X")).row(0).tolist()) == {-1}
