import pytest

from compress.core.errors import DataError
from compress.data.sources.text.parts_of_texts import answers_in, tagged_text
from compress.data.text.cells import Answer, LabelledSpan, TaggedWord


def test_words_and_tags_come_as_lists_or_with_blanks():
    expected = ("EU rejects", [TaggedWord(0, 2, "B-ORG"), TaggedWord(3, 10, "O")])
    assert tagged_text(["EU", "rejects"], ["B-ORG", "O"], "row 1") == expected
    assert tagged_text("EU  rejects", "B-ORG O", "row 1") == expected
    assert tagged_text("EU rejects", None, "row 1") == ("EU rejects", None)


def test_spans_come_as_mappings_or_lists():
    expected = ("EU rejects", [LabelledSpan(0, 2, "ORG")])
    assert tagged_text("EU rejects", [{"start": 0, "end": 2, "label": "ORG"}], "row 1") == expected
    assert tagged_text("EU rejects", '[[0, 2, "ORG"]]', "row 1") == expected
    assert tagged_text("EU rejects", [], "row 1") == ("EU rejects", [])


@pytest.mark.parametrize(
    ("text", "tags", "message"),
    [
        (["EU", "rejects"], ["B-ORG"], r"row 1: 1 tags for 2 words \(EU rejects\)"),
        ("EU", [[0, 9, "ORG"]], r"\[0, 9, 'ORG'\] is no span of its text of 2 characters"),
        ("EU", [{"start": 0}], "is no span of its text"),
        (["EU"], 5, "5 is no list of texts"),
        (7, "O", "7 is no list of texts"),
    ],
)
def test_tags_that_do_not_fit_are_refused(text, tags, message):
    with pytest.raises(DataError, match=message):
        tagged_text(text, tags, "row 1")


TEXT = "Ada was born in London in 1815."


def test_answers_come_as_in_squad_or_as_texts():
    expected = [Answer("1815", 26)]
    assert answers_in(TEXT, {"text": ["1815"], "answer_start": [26]}, "row 1") == expected
    assert answers_in(TEXT, '{"text": ["1815"], "answer_start": [26]}', "row 1") == expected
    assert answers_in(TEXT, [{"text": "1815", "answer_start": 26}], "row 1") == expected
    assert answers_in(TEXT, "1815", "row 1") == expected
    assert answers_in(TEXT, ["1815", "in London"], "row 1") == [Answer("1815", 26), Answer("in London", 13)]
    assert answers_in(TEXT, {"text": [], "answer_start": []}, "row 1") == []
    assert answers_in(TEXT, "", "row 1") == []
    assert answers_in(TEXT, None, "row 1") is None


@pytest.mark.parametrize("cell", ["1816", {"text": ["1815"], "answer_start": [3]}, [{"text": 5}], 7])
def test_an_answer_that_is_not_in_the_text_is_refused(cell):
    with pytest.raises(DataError, match=r"row 1: the answer .* is not in its text"):
        answers_in(TEXT, cell, "row 1")
