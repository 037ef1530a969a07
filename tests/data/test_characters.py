"""Characters of transcripts as classes."""

from __future__ import annotations

import pytest

from compress.core.errors import DataError
from compress.data.characters import character_names, character_targets, plain_transcript, unwritable


def test_transcripts_are_normal() -> None:
    assert plain_transcript("  Caf\u0065\u0301 \n two ", lowercase=True) == "caf\u00e9 two"
    assert plain_transcript("A", lowercase=False) == "A"


def test_names_are_sorted_and_the_blank_is_first() -> None:
    assert character_names(["b a", None], None, ["1", "2"]) == ("<blank>", " ", "a", "b")
    assert character_names(["a"], "ca", ["1"]) == ("<blank>", " ", "a", "c")
    with pytest.raises(DataError, match="no training clip has a transcript"):
        character_names([None], None, ["1"])


def test_targets_tell_unknown_characters_from_clips_without_a_transcript() -> None:
    rows = character_targets(["ab", None, "", "a?"], ("<blank>", "a", "b"))
    assert [rows.row(index).tolist() for index in range(4)] == [[1, 2], [-1], [], [1, -2]]
    assert list(unwritable(["ab", None, "a?"], ("<blank>", "a", "b"))) == [2]
