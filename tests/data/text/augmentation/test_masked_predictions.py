"""Candidates of words from the logits of a masked language model."""

import pytest
import torch

from compress.core.errors import DataError
from compress.data.text.augmentation.masked_predictions import MaskedPredictor, network_of_folder
from compress.data.text.augmentation.token_vectors import TokenNeighbours, token_table, whole_words
from compress.data.text.augmentation.words import split_words
from compress.data.text.task_splits import mask_token
from tests.data.text.augmentation.augmentation_checks import RARE, TEXTS, masked_network

pytest.importorskip("transformers")


@torch.no_grad()
def test_candidates_are_the_most_probable_whole_words(own, folder):
    predicting, loaded = network_of_folder(folder, 64)
    text = f"the cat runs {RARE} house"
    words = split_words(own, [text, TEXTS[0]])
    found = MaskedPredictor(predicting, loaded, 5, batch_size=3).candidates(words)[0]
    assert sorted(found) == [1, 2, 3, 4]
    whole = whole_words(own)
    allowed = torch.tensor(list(whole))
    encoding = own.encodings([text])[0]
    for index in (1, 2, 4):
        (place,) = [
            place for place, span in enumerate(encoding.offsets) if span == words[0].spans[index] and encoding.ids[place]
        ]
        ids = torch.tensor([encoding.ids])
        ids[0, place] = mask_token(own)
        logits = masked_network(own)(input_ids=ids).logits[0, place, allowed]
        order = [whole[int(allowed[rank])] for rank in logits.argsort(descending=True)]
        assert list(found[index]) == [word for word in order if word != words[0].words[index]][:5]
    near = TokenNeighbours(own, token_table(predicting.module, own.vocabulary), 5)
    assert found[3] == near.of([RARE])[RARE]


def test_batches_and_texts_beside_do_not_change_candidates(own, folder):
    predicting, loaded = network_of_folder(folder, 64)
    words = split_words(own, TEXTS[:5])
    together = MaskedPredictor(predicting, loaded, 4, batch_size=64).candidates(words)
    assert together == MaskedPredictor(predicting, loaded, 4, batch_size=1).candidates(words)
    assert together[2:3] == MaskedPredictor(predicting, loaded, 4, batch_size=8).candidates(words[2:3])


def test_words_of_grammar_have_candidates_only_where_asked(own, folder):
    predicting, loaded = network_of_folder(folder, 64)
    words = split_words(own, ["the cat runs"])
    predictor = MaskedPredictor(predicting, loaded, 3, batch_size=8)
    assert sorted(predictor.candidates(words)[0]) == [1, 2]
    assert sorted(predictor.candidates(words, stop_words=True)[0]) == [0, 1, 2]


def test_a_folder_without_a_network_is_refused(tmp_path):
    with pytest.raises(DataError, match="is no masked language model"):
        network_of_folder(tmp_path / "none", 64)
