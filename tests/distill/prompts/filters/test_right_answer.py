"""Answers that are those of the data."""

import pytest

from compress.core.errors import DataError
from compress.distill.prompts.filters.right_answer import RightAnswerFilter
from tests.distill.prompts.filters.texts import kept, texts


def test_texts_with_the_response_of_the_data_are_kept():
    assert kept(RightAnswerFilter(), texts("4", " 4\n", "5", reference="4")) == ["4", " 4\n"]


def test_prompts_without_a_response_are_refused():
    with pytest.raises(DataError, match="compares with responses of the data"):
        kept(RightAnswerFilter(), texts("4"))
