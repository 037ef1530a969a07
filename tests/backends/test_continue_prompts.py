"""Texts that networks write, against reading every text anew, and drawn tokens against their distribution."""

import pytest
import torch
from torch import nn

from compress.backends.continue_prompts import CachedDecoder, Sampling, continue_prompts, sampling_log_probs
from tests.backends.tiny_decoder import network

pytest.importorskip("transformers")
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [14, 3]]
END = 1


class WithoutCache(nn.Module):
    """The same network that keeps nothing."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, ids, mask):
        return self.inner(ids, mask)


def greedy(module, prompt, most):
    """Tokens by reading the whole text each time."""
    row, found = list(prompt), []
    for _ in range(most):
        ids = torch.tensor([row])
        token = int(module(ids, torch.ones_like(ids))[0, -1].argmax())
        found.append(token)
        row.append(token)
        if token == END:
            break
    return found


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("cached", [True, False])
def test_prompts_of_any_lengths_are_continued_as_each_alone(kind, cached):
    whole = network(kind)
    module = whole if cached else WithoutCache(whole).eval()
    assert isinstance(module, CachedDecoder) is cached
    prompts = [torch.tensor(prompt) for prompt in PROMPTS]
    found = continue_prompts([(module, 1.0)], prompts, Sampling(max_new_tokens=12), end=END, most=63)
    for prompt, tokens, length, log_probs in zip(PROMPTS, found.tokens, found.lengths, found.policy_log_probs, strict=True):
        expected = greedy(whole, prompt, 12)
        assert tokens[:length].tolist() == expected
        assert bool((tokens[length:] == END).all())
        ids = torch.tensor([[*prompt, *expected]])
        all_log_p = whole(ids, torch.ones_like(ids))[0].log_softmax(1)
        chosen = [all_log_p[len(prompt) - 1 + place, token].item() for place, token in enumerate(expected)]
        assert log_probs[:length].tolist() == pytest.approx(chosen, abs=1e-4)


def test_texts_end_at_their_end_and_at_the_longest_sequence():
    module, prompts = network(), [torch.tensor(prompt) for prompt in PROMPTS]
    first = greedy(module, PROMPTS[0], 12)
    ended = continue_prompts([(module, 1.0)], prompts[:1], Sampling(max_new_tokens=12), end=first[2], most=63)
    assert ended.tokens[0, : int(ended.lengths[0])].tolist() == first[: first.index(first[2]) + 1]
    short = continue_prompts([(module, 1.0)], prompts, Sampling(max_new_tokens=12), end=END, most=6)
    assert [len(prompt) + int(count) - 1 <= 6 for prompt, count in zip(PROMPTS, short.lengths, strict=True)] == [True] * 4
    assert int(short.lengths.min()) >= 1


def test_the_same_seed_draws_the_same_texts_and_their_probabilities_are_those_of_the_network():
    module, prompts = network(), [torch.tensor(prompt) for prompt in PROMPTS]
    sampling = Sampling(temperature=1.0, max_new_tokens=8)

    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        return continue_prompts([(module, 1.0)], prompts, sampling, end=END, most=63, generator=generator)

    first = drawn(3)
    assert torch.equal(first.tokens, drawn(3).tokens)
    assert not torch.equal(first.tokens, drawn(4).tokens)
    inside = torch.arange(first.tokens.shape[1]) < first.lengths[:, None]
    assert torch.allclose(first.sampling_log_probs[inside], first.policy_log_probs[inside], atol=1e-5)


def test_a_mixture_draws_from_both_networks():
    z_s, z_t = torch.tensor([[0.0, 9.0, 0.0]]), torch.tensor([[9.0, 0.0, 0.0]])
    log_p = sampling_log_probs([z_s, z_t], [0.75, 0.25], Sampling(temperature=1.0))
    assert torch.allclose(log_p.exp(), 0.75 * z_s.softmax(1) + 0.25 * z_t.softmax(1), atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "kept"), [({"top_k": 2}, 2), ({"top_p": 0.5}, 1), ({"top_p": 0.7}, 2), ({"top_p": 0.05}, 1), ({}, 4)]
)
def test_unlikely_tokens_are_never_drawn_and_the_rest_sums_up_to_1(fields, kept):
    z = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
    p = sampling_log_probs([z], [1.0], Sampling(temperature=1.0, **fields)).exp()[0]
    assert (p > 0).tolist() == [place < kept for place in range(4)]
    assert p.sum().item() == pytest.approx(1.0)
    assert (p[0] / p[kept - 1]).item() == pytest.approx((z[0, 0] - z[0, kept - 1]).exp().item(), rel=1e-4)


def test_temperature_scales_the_logits():
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(sampling_log_probs([z], [1.0], Sampling(temperature=0.5)), (2 * z).log_softmax(1), atol=1e-6)
