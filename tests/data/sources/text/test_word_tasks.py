"""Exact tasks on drawn words."""

import pytest

pytest.importorskip("tokenizers")

from compress.core.errors import DataError
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.sources.text.word_tasks import TASKS, WORDINGS, read_words
from compress.data.text.settings import Columns, TrainedTokenizer


def load(tasks, prompt="word", response="answer", **fields):
    columns = Columns(targets="next", prompt=prompt, response=response)
    tokenizer = TrainedTokenizer(train="bpe", vocabulary=280, lowercase=False)
    return load_data(DataSettings(source=f"word_tasks:{tasks}", columns=columns, tokenizer=tokenizer, **fields), base=None)


def test_answers_are_those_of_the_tasks():
    assert {name: answer("bakemi") for name, (_, answer) in TASKS.items()} == {
        "reverse": "imekab", "sort": "abeikm", "vowels": "aei", "capitals": "BAKEMI",
    }  # fmt: skip


def test_the_words_of_the_splits_differ_and_are_the_same_for_all_tasks():
    first, second = load("reverse"), load("reverse,sort", prompt="asked")
    tables = [[split.origin.table for split in (data.train, data.validation, data.test)] for data in (first, second)]
    words = [[set(table.origin) for table in each] for each in tables]
    assert words[0] == words[1]
    assert [len(each) for each in words[0]] == [6400, 800, 800]
    assert len(set.union(*words[0])) == len(read_words()) == 8000
    for prompt, response, word in zip(tables[1][0].texts, tables[1][0].pairs, tables[1][0].origin, strict=True):
        instruction, wording = prompt.split("\n")
        task = next(name for name, (text, _) in TASKS.items() if text == instruction)
        assert wording in [each.format(word=word) for each in WORDINGS]
        assert task in ("reverse", "sort")
        assert response == TASKS[task][1](word)
    assert first.train.origin.table.texts[:3] == first.train.origin.table.origin[:3]


@pytest.mark.parametrize(
    ("tasks", "prompt", "fault"),
    [("reverse,paint", "word", "has no task 'paint'"), ("sort", "words", "has the columns word, asked")],
)
def test_other_tasks_and_columns_are_refused(tasks, prompt, fault):
    with pytest.raises(DataError, match=fault):
        load(tasks, prompt=prompt)
