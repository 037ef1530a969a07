"""Sentences of Python's documentation without capitals and punctuation."""

import pytest

from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.sources.text.python_sentences import MOST_WORDS, plain_text, sentences_table
from compress.data.text.settings import Columns, Lengths, TrainedTokenizer


def test_a_prompt_has_the_letters_of_its_sentence():
    assert plain_text('Don\'t use it: see "open()", RFC 822.') == "dont use it see open rfc 822"


def test_equal_prompts_stand_once_and_long_sentences_are_left_out():
    table = sentences_table(["A b, c.", "A b c!", "word " * (MOST_WORDS + 1), "Grüße an alle."])
    assert (list(table.texts), list(table.pairs)) == (["a b c"], ["A b, c."])


def test_they_are_data_with_prompts(tmp_path):
    pytest.importorskip("tokenizers")
    settings = DataSettings(
        source="python_docs", columns=Columns(prompt="plain", response="sentence", targets="responses"),
        tokenizer=TrainedTokenizer(train="bpe", vocabulary=400, lowercase=False), limit=100, evaluation_limit=40,
        lengths=Lengths(most=64),
    )  # fmt: skip
    data = load_data(settings, base=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (100, 40, 40)
    assert all(prompt == plain_text(prompt) for prompt in data.train.texts)
