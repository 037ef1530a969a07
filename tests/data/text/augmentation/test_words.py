"""Words of texts, and texts that are built again."""

import pytest

from compress.data.text.augmentation.words import Words, rebuild, split_words
from tests.data.text.augmentation.augmentation_checks import TEXTS, tokenizer


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_words_are_those_of_the_text_with_every_kind_of_tokenizer(kind):
    for words in split_words(tokenizer(kind), TEXTS[:10]):
        assert words.words == words.text.split()
        assert rebuild(words, words.words).text == words.text


def test_signs_are_no_words_and_stay():
    (words,) = split_words(tokenizer(), ["The cat (old) runs, sleeps."])
    assert words.words == ["The", "cat", "old", "runs", "sleeps"]
    assert rebuild(words, ["A", "dog", "new", "eats", "sits"]).text == "A dog (new) eats, sits."


def test_chinese_is_divided_into_characters():
    text = "服务很好ab 再来。"
    for kind in ("wordpiece", "bpe"):
        (words,) = split_words(tokenizer(kind, [text, text]), [text])
        assert words.words == ["服", "务", "很", "好", "ab", "再", "来"]


def test_special_tokens_in_a_text_are_no_words():
    (words,) = split_words(tokenizer(), ["the [SEP] cat [MASK] runs"])
    assert words.words == ["the", "cat", "runs"]


@pytest.mark.parametrize(
    ("slots", "text"),
    [
        ([None, "b", "c"], "b c"),
        (["a", None, "c"], "a c"),
        (["a", "b", None], "a b"),
        ([None, None, "c"], "c"),
        ([None, "b", None], "b"),
        ([None, None, None], ""),
    ],
)
def test_a_removed_word_takes_a_blank_with_it(slots, text):
    assert rebuild(Words("a b c", ((0, 1), (2, 3), (4, 5))), slots).text == text


def test_parts_of_the_text_are_found_in_the_new_one():
    words = Words("we met Anna Lee today", ((0, 2), (3, 6), (7, 11), (12, 15), (16, 21)))
    edited = rebuild(words, [None, "encountered", "Anna", "Lee", None])
    place = edited.place(7, 15)
    assert edited.text[slice(*place)] == "Anna Lee"
    assert edited.text[slice(*edited.place(3, 6))] == "encountered"
    assert edited.place(16, 21) is None
