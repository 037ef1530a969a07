"""Repeated n-grams, against counts by hand."""

import pytest

from compress.distill.prompts.filters.repetition import RepetitionFilter, repetition
from tests.distill.prompts.filters.texts import kept, texts


@pytest.mark.parametrize(
    ("text", "n", "value"),
    [
        ("a b a b a b", 2, 1 - 2 / 5),
        ("a b c d", 2, 0.0),
        ("a", 2, 0.0),
        ("", 1, 0.0),
        ("SSSSSS", 2, 1 - 1 / 5),
        ("a a", 1, 0.5),
    ],
)
def test_it_is_the_share_of_n_grams_that_stand_before(text, n, value):
    assert repetition(text, n) == pytest.approx(value)


def test_texts_that_repeat_themselves_are_removed():
    assert kept(RepetitionFilter(n=2, most=0.4), texts("go on go on go on go on", "one two three two one")) == [
        "one two three two one"
    ]
