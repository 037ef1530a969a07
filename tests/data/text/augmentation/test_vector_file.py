"""Files of word vectors."""

import pytest
import torch

from compress.core.errors import DataError
from compress.data.text.augmentation.vector_file import read_vectors


@pytest.mark.parametrize("header", ["", "2 3\n"])
def test_words_and_numbers(header, tmp_path):
    (tmp_path / "v.txt").write_text(f"{header}cat 1 2 3\ndog 0.5 -1 2e1\n", encoding="utf-8")
    words, vectors = read_vectors(tmp_path / "v.txt")
    assert words == ["cat", "dog"]
    assert torch.equal(vectors, torch.tensor([[1.0, 2, 3], [0.5, -1, 20]]))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("cat 1 2\ndog 1\n", "line 2: no word with 2 finite"),
        ("cat 1 x\n", "line 1"),
        ("cat 1 nan\n", "line 1"),
        ("", "no vectors"),
    ],
)
def test_faults_are_told_with_their_line(text, fault, tmp_path):
    (tmp_path / "v.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=fault):
        read_vectors(tmp_path / "v.txt")
