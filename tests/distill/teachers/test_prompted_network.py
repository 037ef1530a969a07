"""A network with a context: the logits of the whole text, at the places of the prompt and the response."""

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from compress.backends.continue_prompts import Sampling, continue_prompts
from compress.core.errors import DataError
from compress.data.text.context_tokens import ContextTokens
from compress.distill.teachers.prompted_network import PromptedDecoder, prompted
from tests.backends.tiny_decoder import network

LONG = ContextTokens(np.array([3]), np.array([3, 9, 8, 7]))
SHORT = ContextTokens(np.array([3, 4]), np.array([9]))


class Whole(torch.nn.Module):
    """A network without kept keys and values, and without positions."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, ids, mask):
        return self.inner(ids, mask)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("context", [LONG, SHORT], ids=["longer", "shorter"])
def test_logits_are_those_of_the_text_with_the_context(kind, context):
    inner = network(kind)
    own, given = (torch.from_numpy(part) for part in context)
    tails = [torch.tensor([11, 12, 13, 14]), torch.tensor([15, 16])]
    ids, mask = torch.zeros(2, len(own) + 4, dtype=torch.int64), torch.zeros(2, len(own) + 4, dtype=torch.int64)
    for row, tail in enumerate(tails):
        ids[row, : len(own) + len(tail)] = torch.cat([own, tail])
        mask[row, : len(own) + len(tail)] = 1
    found = prompted(inner, context)(ids, mask)
    places = torch.tensor([[0, len(own) + 1], [1, len(own) + 1], [0, len(own) + 3]])
    at_places = prompted(inner, context)(ids, mask, positions=places)
    without = prompted(Whole(inner), context)(ids, mask, positions=places)
    torch.testing.assert_close(at_places, found[places[:, 0], places[:, 1]], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(without, at_places, atol=1e-4, rtol=1e-4)
    for row, tail in enumerate(tails):
        whole = torch.cat([given, tail])[None]
        expected = inner(whole, torch.ones_like(whole))[0, len(given) :]
        torch.testing.assert_close(found[row, len(own) : len(own) + len(tail)], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("context", [LONG, SHORT], ids=["longer", "shorter"])
def test_it_writes_what_the_network_writes_after_the_context(context):
    inner = network(seed=2)
    own, given = (torch.from_numpy(part) for part in context)
    tails = [torch.tensor([11, 12, 13, 14]), torch.tensor([15]), torch.tensor([16, 17, 18])]
    prompts = [torch.cat([own, tail]) for tail in tails]
    sampling = Sampling(max_new_tokens=8)
    expected = continue_prompts([(inner, 1.0)], [torch.cat([given, tail]) for tail in tails], sampling, end=1, most=60)
    for candidate in (prompted(inner, context), prompted(Whole(inner), context)):
        found = continue_prompts([(candidate, 1.0)], prompts, sampling, end=1, most=50)
        assert found.tokens.tolist() == expected.tokens.tolist()
    assert isinstance(prompted(inner, context), PromptedDecoder)


def test_prompts_that_were_cut_and_texts_that_are_too_long_are_refused():
    asked = prompted(network(), LONG)
    ids = torch.tensor([[5, 6, 7]])
    with pytest.raises(DataError, match="such prompts were cut"):
        asked(ids, torch.ones_like(ids))
    ids = torch.full((1, 62), 3)
    with pytest.raises(DataError, match="a text of 65 tokens, 4 of them the context, is longer than the 64"):
        asked(ids, torch.ones_like(ids))
