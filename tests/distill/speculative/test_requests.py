"""Prompts of splits, and counts of proposals by position."""

import numpy as np
import pytest
import torch

from compress.backends.decoder.speculative import SpeculativeDecoder, SpeculativeRound
from compress.data.batch import Batch
from compress.distill.speculative.requests import Acceptance, request_prompts, serve
from tests.backends.decoder.speculative_pairs import near_copy, sessions


def one(tokens, drafted):
    return SpeculativeRound(tuple(tokens), tuple(drafted), np.zeros((len(drafted) + 1, 4), np.float32), 0.1)


def test_positions_count_where_all_before_were_taken():
    acceptance = Acceptance()
    for tokens, drafted in (([1, 2, 3], [1, 2, 9]), ([5], [4, 4, 4]), ([1, 2, 3, 4], [1, 2, 3])):
        acceptance.add(one(tokens, drafted))
    assert (acceptance.reached, acceptance.accepted) == ([3, 2, 2], [2, 2, 1])
    assert acceptance.rate == pytest.approx(5 / 7)
    assert [row["rate"] for row in acceptance.rows()] == [pytest.approx(2 / 3), 1.0, 0.5]
    assert Acceptance().rate == 0


def test_texts_without_prompts_give_their_first_half():
    class Texts:
        def ordered(self, size):  # noqa: ARG002
            ids = torch.arange(1, 13).reshape(2, 6)
            mask = torch.tensor([[1] * 6, [1, 1, 1, 1, 0, 0]])
            yield Batch({"input_ids": ids, "attention_mask": mask}, {})

    assert request_prompts(Texts(), 5, 10) == [[1, 2, 3], [7, 8]]
    assert request_prompts(Texts(), 5, 2) == [[1, 2], [7, 8]]  # the longer one is cut


def test_refused_places_hold_the_distribution_of_the_target(language_artifact, tmp_path):
    candidate = language_artifact[1]
    target, draft = sessions(candidate, near_copy(candidate, 0.05), tmp_path)
    acceptance = Acceptance()
    served = serve(SpeculativeDecoder(target, draft, 4), [5, 9, 11], most=20, stops=(), acceptance=acceptance)
    assert served.rejected
    assert len(served.rejected) == sum(acceptance.reached) - sum(acceptance.accepted)
    text = torch.tensor([[*served.prompt, *served.tokens]])
    with torch.no_grad():
        logits = candidate.network()(text, torch.ones_like(text))[0]
    for place, values in served.rejected.items():
        np.testing.assert_allclose(values, logits[place].numpy(), atol=1e-3, rtol=1e-3)
        assert int(values.argmax()) == int(text[0, place + 1])
