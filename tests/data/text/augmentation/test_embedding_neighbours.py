"""Words are replaced by words with near vectors."""

import pytest

from compress.core.errors import DataError
from compress.data.text.augmentation.embedding_neighbours import EmbeddingNeighbours
from compress.data.text.augmentation.token_vectors import TokenNeighbours, token_table
from tests.data.text.augmentation.augmentation_checks import TEXTS, drawn, resources, teacher_of, tokenizer


def test_replacements_are_neighbours_and_words_of_grammar_stay():
    own = tokenizer()
    teacher = teacher_of(own)
    near = TokenNeighbours(own, token_table(teacher, own.vocabulary), 3)
    method = EmbeddingNeighbours(p=1.0, k=3)
    assert not method.keeps_label
    for change in drawn(method, TEXTS, own, teacher=teacher):
        for old, new in zip(change.words.words, change.slots, strict=True):
            assert new == old if old in {"the", "a", "under", "over"} else new in near.of([old])[old]


def test_vectors_of_a_file(tmp_path):
    (tmp_path / "v.txt").write_text("cat 1 0\ndog 1 0.1\nhouse 0 1\nhome 0.1 1\n", encoding="utf-8")
    method = EmbeddingNeighbours(p=1.0, k=1, source="v.txt")
    assert not method.uses_teacher
    (change,) = drawn(method, ["the old cat house"], base=tmp_path)
    assert change.slots == ["the", "old", "dog", "home"]
    assert method.file_hashes(tmp_path).keys() == {"vectors"}


def test_a_missing_teacher_is_told():
    with pytest.raises(DataError, match=r"add `teacher: \{source: …\}`, or name a file"):
        EmbeddingNeighbours().editor(resources())
