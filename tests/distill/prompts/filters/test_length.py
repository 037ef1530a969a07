"""Texts in a range of lengths."""

import pytest

from compress.distill.prompts.filters.length import LengthFilter
from tests.distill.prompts.filters.texts import kept, texts


def test_texts_of_other_lengths_and_cut_ones_are_removed():
    given = [*texts("", "a", "abcd", "  abc \n", "abcde"), *texts("abc", ended=False)]
    assert kept(LengthFilter(), given) == ["a", "abcd", "  abc \n", "abcde"]
    assert kept(LengthFilter(least=3, most=4, ended=False), given) == ["abcd", "  abc \n", "abc"]


def test_a_range_without_a_length_is_refused():
    with pytest.raises(ValueError, match="most 2 is below least 3"):
        LengthFilter(least=3, most=2)
