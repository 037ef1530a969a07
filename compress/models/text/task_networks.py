"""Networks of transformers for tasks of texts, as modules with plain tensors in and out, in the order of the signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from compress.models.text.sentence_settings import SentenceSettings


class TextNetwork(nn.Module):
    """Token numbers, attention mask and where used token types, each int64 (N, L) → outputs of a network of transformers.

    Args:
        network: The network.
        takes_types: Whether it has embeddings of token types; without them these are not used.
    """

    def __init__(self, network: nn.Module, *, takes_types: bool) -> None:
        super().__init__()
        self.network = network
        self.takes_types = takes_types

    def run(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None) -> Any:
        """What the network returns."""
        types = {} if token_type_ids is None or not self.takes_types else {"token_type_ids": token_type_ids}
        return self.network(input_ids=input_ids, attention_mask=attention_mask, **types)


class TokenClassifier(TextNetwork):
    """Logits of each token, (N, L, K); a network of `AutoModelForTokenClassification`."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits."""
        logits: Tensor = self.run(input_ids, attention_mask, token_type_ids).logits
        return logits


class AnswerFinder(TextNetwork):
    """Logits of the first and of the last token of an answer, (N, L) each; of `AutoModelForQuestionAnswering`."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits of first and last token."""
        outputs = self.run(input_ids, attention_mask, token_type_ids)
        return outputs.start_logits, outputs.end_logits


class PredictedTokens(TextNetwork):
    """Logits over the vocabulary at all places, (N, L, V)."""

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Logits of all tokens, (N, L, V), or of those at `positions`, (M, V).

        The head is applied to the hidden states of these tokens alone: it computes each token by itself, and is a third and
        more of the operations of a small encoder.

        Args:
            input_ids: int64 (N, L).
            attention_mask: int64 (N, L).
            token_type_ids: int64 (N, L), or None.
            positions: Sample and place of each token, int64 (M, 2).
        """
        if positions is None:
            logits: Tensor = self.run(input_ids, attention_mask, token_type_ids).logits
            return logits
        body: nn.Module = self.network.base_model  # type: ignore[assignment]
        handle = body.register_forward_hook(lambda _module, _inputs, outputs: _selected(outputs, positions))
        try:
            chosen: Tensor = self.run(input_ids, attention_mask, token_type_ids).logits
        finally:
            handle.remove()
        return chosen[0]


class MaskedTokens(PredictedTokens):
    """Logits of all tokens over the vocabulary, (N, L, V); a network of `AutoModelForMaskedLM`."""


class NextTokens(PredictedTokens):
    """Logits of the token after each one, (N, L, V); a network of `AutoModelForCausalLM`.

    A place sees the tokens up to it. Padding is on the right, where no token sees it.
    """

    def run(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None) -> Any:  # noqa: ARG002
        """What the network returns, without keys and values of a cache."""
        return self.network(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)

    def step(self, input_ids: Tensor, attention_mask: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Logits after the last token, (N, V), and keys and values of all tokens so far.

        Args:
            input_ids: New tokens, int64 (N, L), of the first call with padding on the left.
            attention_mask: 1 for each token so far that is no padding, int64 (N, earlier and new tokens).
            cache: Keys and values of the last call; None in the first one.
        """
        places = (attention_mask.cumsum(1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
        outputs = self.network(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=places,
            use_cache=True,
            logits_to_keep=1,
            **{cache_name(self.network): cache},
        )
        return outputs.logits[:, -1], outputs[cache_name(self.network)]

    def extend(self, input_ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Logits after each new token of texts without padding, (N, L, V), and keys and values of all tokens so far.

        Args:
            input_ids: New tokens, int64 (N, L).
            cache: Keys and values of the last call; None in the first one.
        """
        name = cache_name(self.network)
        outputs = self.network(input_ids=input_ids, use_cache=True, **{name: cache})
        return outputs.logits, outputs[name]


class SentenceEncoder(TextNetwork):
    """A vector for each text, (N, D), from the hidden states h of a network of `AutoModel` and the mask m.

        mean: Σ_t m_t h_t / Σ_t m_t      cls: h_0      max: max over t with m_t = 1

    Reimers & Gurevych 2019, Sentence-BERT, arXiv:1908.10084, section 3.

    Args:
        network: The network.
        takes_types: Whether it has embeddings of token types.
        settings: Pooling, scaling to length 1, and dimensions of the vectors.
        width: Of the hidden states.
    """

    def __init__(self, network: nn.Module, *, takes_types: bool, settings: SentenceSettings, width: int) -> None:
        super().__init__(network, takes_types=takes_types)
        self.pooling, self.normalize = settings.pooling, settings.normalize
        self.projection = nn.Identity() if settings.dimensions is None else nn.Linear(width, settings.dimensions)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Vectors, of length 1 where they are scaled."""
        hidden = self.run(input_ids, attention_mask, token_type_ids).last_hidden_state
        vectors = self.projection(_pooled(hidden, attention_mask, self.pooling))
        return F.normalize(vectors, dim=1) if self.normalize else vectors


def cache_name(network: nn.Module) -> str:
    """What a network of transformers calls keys and values: `cache`, before release 5.20 `past_key_values`."""
    import inspect

    return "cache" if "cache" in inspect.signature(network.forward).parameters else "past_key_values"


def _selected(outputs: Any, positions: Tensor) -> Any:
    """The outputs of a body with the hidden states of some tokens, (1, M, H), in place of all."""
    outputs.last_hidden_state = outputs.last_hidden_state[positions[:, 0], positions[:, 1]][None]
    return outputs


def _pooled(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    if pooling == "cls":
        return hidden[:, 0]
    weights = mask[..., None].to(hidden.dtype)
    if pooling == "mean":
        return (hidden * weights).sum(1) / weights.sum(1).clamp_min(1e-9)
    return torch.where(weights > 0, hidden, torch.full_like(hidden, -1e9)).amax(1)
