"""Whole words of a vocabulary, and the nearest ones."""

import numpy as np
import pytest
import torch
from torch import nn

from compress.core.errors import DataError
from compress.data.text.augmentation.token_vectors import Neighbours, TokenNeighbours, pieces, token_table, whole_words
from tests.data.text.augmentation.augmentation_checks import RARE, teacher_of, tokenizer


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_whole_words_are_neither_special_nor_parts_of_words(kind):
    own = tokenizer(kind)
    found = whole_words(own)
    assert not {"at", "lee", "##at"} & set(found.values())
    assert {"cat", "house", "lovely"} <= set(found.values())
    assert all(word.isalpha() for word in found.values())
    assert len(pieces(own, [RARE])[0]) > 1
    for number, word in found.items():
        assert own.tokenizer.decode([number]).strip() == word


def test_neighbours_are_those_of_a_search_through_all_cosines():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(50, 8))
    words = [f"w{index}" for index in range(50)]
    nearest = Neighbours(words, torch.tensor(table, dtype=torch.float32), 6)
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    for row in range(50):
        order = [index for index in np.argsort(-unit @ unit[row]) if index != row][:6]
        assert nearest.of(words[row], torch.tensor(table[row], dtype=torch.float32)) == tuple(words[index] for index in order)


def test_a_word_of_several_tokens_has_their_mean_and_an_unknown_one_has_none():
    own = tokenizer()
    table = token_table(teacher_of(own), own.vocabulary)
    near = TokenNeighbours(own, table, 4)
    found = near.of([RARE, "cat", "猫"])
    assert found["猫"] == ()
    whole = whole_words(own)
    vector = table[pieces(own, [RARE])[0]].mean(0).numpy()
    rows = {word: table[number].numpy() for number, word in whole.items()}
    cosine = {word: row @ vector / np.linalg.norm(row) for word, row in rows.items()}
    assert found[RARE] == tuple(sorted(cosine, key=lambda word: -cosine[word])[:4])
    assert "cat" not in found["cat"]
    assert len(found["cat"]) == 4


def test_the_table_is_that_of_the_tokens_also_behind_a_map():
    module = nn.Module()
    module.positions, module.words = nn.Embedding(64, 8), nn.Embedding(30, 8)
    assert torch.equal(token_table(module, 30), module.words.weight)
    module.register_buffer("numbers", torch.arange(5, 25))
    module.positions = nn.Embedding(8, 8)
    assert torch.equal(token_table(module, 20), module.words.weight[5:25])
    with pytest.raises(DataError, match="a vector for each of the 7 tokens"):
        token_table(module, 7)
