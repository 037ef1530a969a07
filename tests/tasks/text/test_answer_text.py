import pytest

from compress.tasks.text.answer_text import (
    best_scores,
    decode_text,
    decode_texts,
    encode_text,
    encode_texts,
    exact_match,
    normalise_answer,
    word_f1,
)


def test_case_punctuation_and_articles_do_not_count():
    assert normalise_answer("The  Cat, a-b an\tapple!") == "cat ab apple"
    assert exact_match("the Eiffel Tower.", "Eiffel tower") == 1
    assert exact_match("Eiffel", "Eiffel tower") == 0


def test_f1_counts_each_word_as_often_as_it_occurs():
    assert word_f1("red red car", "red car car") == pytest.approx(2 * 2 / 6)
    assert word_f1("blue", "red") == 0
    assert word_f1("", "the") == 1
    assert word_f1("", "red") == 0


def test_the_best_true_answer_counts():
    assert best_scores("in 1999", ["2000", "1999"]) == (0, pytest.approx(2 / 3))
    assert best_scores("", []) == (1, 1)
    assert best_scores("x", []) == (0, 0)


def test_texts_are_read_back_from_code_points():
    texts = ["名前", "ab\x1ec", "🙂 x"]
    assert decode_texts([*encode_texts(texts), 0, 0]) == ["名前", "ab c", "🙂 x"]
    assert decode_texts([0, 0]) == []
    assert decode_text(encode_text("é")) == "é"
