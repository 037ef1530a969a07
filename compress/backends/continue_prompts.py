"""Continue prompts in batches, by sampling or with the likeliest tokens, from a causal language model or a mixture of several.

    p̃_t = truncate(Σ_m α_m softmax(z_m / T)),   y_t ~ p̃_t   until the token that ends a text

Prompts are padded on the left, so that all end at the same place; a network that keeps keys and values of earlier tokens reads
each token once. The encoder of an encoder-decoder reads a prompt once, with padding on the right. With the temperature 0 the
likeliest token is taken.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from compress.data.text.settings import DECODER_IDS


@runtime_checkable
class CachedDecoder(Protocol):
    """A network that computes the logits after new tokens from keys and values of the earlier ones."""

    def step(self, input_ids: Tensor, attention_mask: Tensor, cache: object | None) -> tuple[Tensor, object]:
        """Logits after the last token, (N, V), and keys and values of all tokens.

        Args:
            input_ids: New tokens, int64 (N, L), of the first call with padding on the left.
            attention_mask: 1 for each token so far that is no padding, int64 (N, earlier and new tokens).
            cache: Keys and values of the last call; None in the first one.
        """


@runtime_checkable
class CachedEncoderDecoder(Protocol):
    """A network whose encoder reads prompts once, and whose decoder writes from keys and values of the earlier tokens."""

    def read_prompt(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Any, Tensor]:
        """What the decoder needs of prompts with padding on the right, and the start of each response, int64 (N, 1)."""

    def write(self, token: Tensor, prompt: Any) -> tuple[Tensor, Any]:
        """Logits after a token of each response, (N, V), and what the next one needs."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: T; 0 takes the likeliest token.
        top_p: Least probability of the likeliest tokens that are kept; 1 keeps all.
        top_k: Number of likeliest tokens that are kept; None keeps all.
        max_new_tokens: Longest continuation in tokens.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None
    max_new_tokens: int = 128


class Continuations(NamedTuple):
    """Continuations of N prompts.

    Attributes:
        tokens: Tokens, int64 (N, T), the end of a text among them; those after it are the end again.
        lengths: Tokens of each continuation with its end, int64 (N,), at least 1.
        sampling_log_probs: log p̃ of each token, float32 (N, T); 0 at temperature 0.
        policy_log_probs: log softmax(z) of each token by the first network, at temperature 1, float32 (N, T).
    """

    tokens: Tensor
    lengths: Tensor
    sampling_log_probs: Tensor
    policy_log_probs: Tensor


def sampling_log_probs(logits: Sequence[Tensor], weights: Sequence[float], sampling: Sampling) -> Tensor:
    """Log p̃, float32 (N, V): −inf for tokens that are never drawn.

    Args:
        logits: z_m of each network, (N, V).
        weights: α_m, which sum up to 1.
        sampling: With a temperature above 0.
    """
    log_ps = [(z.float() / sampling.temperature).log_softmax(dim=1) for z in logits]
    log_p = log_ps[0] if len(log_ps) == 1 else torch.stack([each + _log(a) for each, a in zip(log_ps, weights, strict=True)])
    if len(log_ps) > 1:
        log_p = log_p.logsumexp(dim=0)
    if sampling.top_k is not None and sampling.top_k < log_p.shape[1]:
        least = log_p.topk(sampling.top_k, dim=1).values[:, -1:]
        log_p = log_p.masked_fill(log_p < least, float("-inf"))
    if sampling.top_p < 1.0:
        ordered, places = log_p.log_softmax(dim=1).sort(dim=1, descending=True)
        before = ordered.exp().cumsum(dim=1) - ordered.exp()
        log_p = log_p.masked_fill(
            torch.zeros_like(before, dtype=torch.bool).scatter(1, places, before >= sampling.top_p), -torch.inf
        )
    return log_p.log_softmax(dim=1)


@torch.no_grad()
def continue_prompts(
    networks: Sequence[tuple[nn.Module, float]],
    prompts: Sequence[Tensor],
    sampling: Sampling,
    *,
    end: int,
    most: int,
    generator: torch.Generator | None = None,
) -> Continuations:
    """Continue each prompt until the end of its text, `max_new_tokens`, or the longest sequence.

    Args:
        networks: Networks in eval mode on the device, each with its share α of the mixture; the first one is the policy.
        prompts: Tokens of each prompt on the device, int64, at least one.
        sampling: How tokens are chosen.
        end: Token that ends a text.
        most: Longest sequence that the networks read, in tokens; the last token is not read. An encoder-decoder may have as
            many tokens in its response.
        generator: Random numbers on the device; None at temperature 0.
    """
    device = prompts[0].device
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    readers = [_reader(network) for network, _ in networks]
    ids = torch.full((len(prompts), int(lengths.max())), end, device=device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, len(ids[row]) - len(prompt) :] = prompt
        mask[row, len(ids[row]) - len(prompt) :] = 1
    read_apart = all(isinstance(reader, _EncoderDecoder) for reader in readers)
    rooms = (torch.full_like(lengths, most) if read_apart else most + 1 - lengths).clamp(min=1, max=sampling.max_new_tokens)
    counts = torch.zeros_like(lengths)
    open_rows = torch.ones_like(lengths, dtype=torch.bool)
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    new = ids
    while bool(open_rows.any()):
        logits = [reader.read(new, mask) for reader in readers]
        token, log_prob = _choose(logits, [share for _, share in networks], sampling, generator)
        token = token.where(open_rows, torch.full_like(token, end))
        policy = logits[0].float().log_softmax(dim=1).gather(1, token[:, None])[:, 0]
        columns.append((token, log_prob, policy))
        counts += open_rows
        open_rows = open_rows & (token != end) & (counts < rooms)
        new = token[:, None]
        mask = torch.cat([mask, torch.ones_like(new)], dim=1)
    tokens, sampled, policies = (torch.stack(column, dim=1) for column in zip(*columns, strict=True))
    return Continuations(tokens, counts, sampled, policies)


def _choose(
    logits: Sequence[Tensor], shares: Sequence[float], sampling: Sampling, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """A token for each row, (N,), and log p̃ of it, (N,)."""
    if sampling.temperature == 0.0:
        certain = Sampling(1.0)
        log_p = logits[0] if len(logits) == 1 else sampling_log_probs(logits, shares, certain)
        token = log_p.argmax(dim=1)
        return token, torch.zeros(len(token), device=token.device)
    log_p = sampling_log_probs(logits, shares, sampling)
    token = torch.multinomial(log_p.exp(), 1, generator=generator)
    return token[:, 0], log_p.gather(1, token)[:, 0]


class _Cached:
    """Reads new tokens with keys and values of the earlier ones."""

    def __init__(self, network: CachedDecoder) -> None:
        self.network, self.cache = network, None

    def read(self, new: Tensor, mask: Tensor) -> Tensor:
        """Logits after the last token, (N, V)."""
        logits, self.cache = self.network.step(new, mask, self.cache)  # type: ignore[assignment]
        return logits


class _Whole:
    """Reads all tokens again, with padding on the right, for a network that keeps no keys and values."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.ids: Tensor | None = None

    def read(self, new: Tensor, mask: Tensor) -> Tensor:
        """Logits after the last token, (N, V)."""
        self.ids = new if self.ids is None else torch.cat([self.ids, new], dim=1)
        counts = mask.sum(1)
        steps = torch.arange(int(counts.max()), device=new.device)
        inside = steps < counts[:, None]
        places = (steps + (mask.shape[1] - counts)[:, None]).clamp(max=mask.shape[1] - 1)
        ids = self.ids.gather(1, places).where(inside, torch.zeros_like(places))
        logits: Tensor = self.network(ids, inside.long())
        return logits[torch.arange(len(logits), device=new.device), counts - 1]


class _EncoderDecoder:
    """Reads prompts by the encoder once, then the tokens of responses by the decoder.

    A decoder without a cache reads all tokens of its response again.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network, self.prompt = network, None
        self.ids, self.mask, self.written = torch.empty(0), torch.empty(0), torch.empty(0)

    def read(self, new: Tensor, mask: Tensor) -> Tensor:
        """Logits after the last token, (N, V)."""
        is_first = not self.ids.numel()
        if is_first:
            self.ids, self.mask = _padded_right(new, mask)
        if not isinstance(self.network, CachedEncoderDecoder):
            self.written = new.new_zeros(len(new), 1) if is_first else torch.cat([self.written, new], dim=1)
            whole: Tensor = self.network(self.ids, self.mask, self.written)
            return whole[:, -1]
        if is_first:
            self.prompt, new = self.network.read_prompt(self.ids, self.mask)
        logits, self.prompt = self.network.write(new, self.prompt)
        return logits


def _padded_right(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Prompts with padding on the left → with padding on the right, and their mask."""
    counts = mask.sum(1)
    steps = torch.arange(ids.shape[1], device=ids.device)
    places = (steps + (ids.shape[1] - counts)[:, None]).clamp(max=ids.shape[1] - 1)
    return ids.gather(1, places), (steps < counts[:, None]).long()


def _reader(network: nn.Module) -> _Cached | _Whole | _EncoderDecoder:
    if isinstance(network, CachedEncoderDecoder) or DECODER_IDS in inspect.signature(network.forward).parameters:
        return _EncoderDecoder(network)
    return _Cached(network) if isinstance(network, CachedDecoder) else _Whole(network)


def _log(value: float) -> float:
    import math

    return math.log(value) if value > 0 else -math.inf
