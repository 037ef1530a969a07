"""Settings of the methods."""

import pytest
from pydantic import ValidationError

from compress.core.registry import entries
from compress.data.text.augmentation.base import share


@pytest.mark.parametrize("row", entries("text_augmentation"), ids=lambda row: row.name)
def test_every_method_has_a_probability_and_copies(row):
    method = row.load()
    for p in (-0.1, 0.0, 1.1):
        with pytest.raises(ValidationError, match="than"):
            method(p=p)
    with pytest.raises(ValidationError, match="copies"):
        method(copies=0)
    assert method(p=0.3, copies=9).smoke() == method(p=0.3, copies=1)


def test_a_share_of_the_words_is_at_least_one():
    assert [share(0.1, count) for count in (1, 10, 26)] == [1, 1, 3]
