"""Targets that survive a change of the text."""

import pytest

from compress.data.text.augmentation.embedding_neighbours import EmbeddingNeighbours
from compress.data.text.augmentation.fitting import misfit, unlabelled
from compress.data.text.augmentation.random_deletion import RandomDeletion
from compress.data.text.augmentation.random_swap import RandomSwap


@pytest.mark.parametrize("targets", ["classes", "labels", "values", "masked"])
def test_all_methods_fit_whole_texts(targets):
    assert misfit((RandomSwap(), RandomDeletion(), EmbeddingNeighbours()), targets) is None


def test_parts_of_texts_are_not_damaged():
    assert "damage the answers" in misfit((RandomDeletion(),), "answers")
    assert "compared with those of others" in misfit((RandomDeletion(),), "scores")
    assert "random_swap moves words away from their tags" in misfit((RandomDeletion(), RandomSwap()), "tags")
    assert misfit((RandomDeletion(), EmbeddingNeighbours()), "tags") is None


def test_methods_without_labels_have_names():
    assert unlabelled((RandomDeletion(), EmbeddingNeighbours())) == ["embedding_neighbours"]
