"""Files of synonyms, and their faults by line."""

import pytest

from compress.core.errors import DataError
from compress.data.text.augmentation.synonyms_file import read_synonyms


def test_both_forms_give_the_same(tmp_path):
    table, lines = tmp_path / "words.csv", tmp_path / "words.jsonl"
    table.write_text("word,synonyms\nQuick,fast;rapid\nold,aged|ancient\n", encoding="utf-8")
    lines.write_text('{"word": "quick", "synonyms": ["fast", "rapid"]}\n\n{"word": "old", "synonyms": ["aged", "ancient"]}\n')
    assert read_synonyms(table) == read_synonyms(lines) == {"quick": ("fast", "rapid"), "old": ("aged", "ancient")}


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.csv", "term,other\n", r"line 1: the header is term,other"),
        ("a.csv", "word,synonyms\nquick,fast\nold,aged,ancient\n", r"line 3: 3 cells; write lines such as quick,fast;rapid"),
        ("a.csv", "word,synonyms\nquick,quick\n", r"line 2: 'quick' has no synonym besides itself"),
        ("a.csv", "word,synonyms\n,fast\n", r"line 2: no word"),
        ("a.csv", "word,synonyms\n", "has no synonyms"),
        ("a.jsonl", '{"word": "a", "synonyms": ["b"]}\n{', r"line 2: no JSON"),
        ("a.jsonl", '{"word": "a", "synonyms": "b"}', r"line 1: the synonyms are no list of texts"),
        ("a.jsonl", "[1]", r"line 1: list, not a JSON object"),
    ],
)
def test_faults_are_told_with_their_line(name, text, fault, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=fault):
        read_synonyms(tmp_path / name)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.csv"):
        read_synonyms(tmp_path / "none.csv")
