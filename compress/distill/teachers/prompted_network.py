"""A language model that reads a context before each prompt, and answers at the places of the prompt without it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.backends.continue_prompts import CachedDecoder
from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.text.context_tokens import ContextTokens
from compress.tasks.text.token_prediction import takes_positions


class PromptedNetwork(nn.Module):
    """Logits (N, L, V) of tokens x_1 … x_L, computed after a context.

        p(· | x_1 … x_t)  →  p(· | c_1 … c_Q, x_{P+1} … x_t)

    The first P tokens, which stand before every prompt, give way to Q of the context. Places of the context have no logits
    outside; those of the P tokens count for nothing.

    Args:
        network: A causal language model.
        context: Its tokens.
    """

    def __init__(self, network: nn.Module, context: ContextTokens) -> None:
        super().__init__()
        self.network = network
        self.shift = context.shift
        self.own: Tensor
        self.given: Tensor
        self.register_buffer("own", torch.from_numpy(context.own), persistent=False)
        self.register_buffer("given", torch.from_numpy(context.given), persistent=False)
        config = getattr(getattr(network, "network", None), "config", None)
        self.most: int | None = getattr(config, "max_position_embeddings", None)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,  # noqa: ARG002  # decoders have none
        positions: Tensor | None = None,
    ) -> Tensor:
        """Logits of all tokens, (N, L, V), or of those at `positions`, (M, V).

        Args:
            input_ids: int64 (N, L), with padding on the right.
            attention_mask: int64 (N, L).
            token_type_ids: Not used.
            positions: Sample and place of each token, int64 (M, 2).

        Raises:
            DataError: A prompt was cut, or is too long with the context.
        """
        ids, mask = self.with_context(input_ids, attention_mask)
        if positions is not None and takes_positions(self.network):
            moved = positions + positions.new_tensor([0, self.shift])
            at_places: Tensor = self.network(ids, mask, positions=moved.clamp(min=0))
            return at_places
        logits: Tensor = self.network(ids, mask)
        logits = logits[:, self.shift :] if self.shift >= 0 else F.pad(logits, (0, 0, -self.shift, 0))
        return logits if positions is None else logits[positions[:, 0], positions[:, 1]]

    def with_context(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens after the context, and their mask, (N, L + Q − P) each; arguments and errors as for `forward`."""
        count, replaced = len(input_ids), len(self.own)
        if not torch.equal(input_ids[:, :replaced], self.own.expand(count, -1)):
            msg = gettext(
                "a prompt does not begin with what the chat template writes before it, so that no context can be put there; "
                "such prompts were cut: raise `data.lengths.most` or `lengths.prompt`"
            )
            raise DataError(msg)
        ids = torch.cat([self.given.expand(count, -1), input_ids[:, replaced:]], dim=1)
        mask = torch.cat([attention_mask.new_ones(count, len(self.given)), attention_mask[:, replaced:]], dim=1)
        if self.most is not None and ids.shape[1] > self.most:
            msg = gettext(
                "a text of {tokens} tokens, {context} of them the context, is longer than the {most} that the network reads; "
                "shorten the context, or lower `data.lengths.most`",
                tokens=ids.shape[1],
                context=len(self.given),
                most=self.most,
            )
            raise DataError(msg)
        return ids, mask


class PromptedDecoder(PromptedNetwork):
    """The same of a network that keeps keys and values of earlier tokens."""

    def step(self, input_ids: Tensor, attention_mask: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Logits after the last token, (N, V), and keys and values; arguments as for `NextTokens.step`."""
        if cache is not None:
            inner, head, start = cache
            mask = torch.cat([head, attention_mask[:, start:]], dim=1)
        else:
            input_ids, mask = self._left_padded(input_ids, attention_mask)
            inner, head, start = None, mask, attention_mask.shape[1]
        logits, inner = self.network.step(input_ids, mask, inner)  # type: ignore[operator]
        return logits, (inner, head, start)

    def _left_padded(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Prompts after the context, with padding on the left, and their mask."""
        counts = attention_mask.sum(1)
        width = input_ids.shape[1] + max(0, self.shift)
        ids = input_ids.new_zeros(len(input_ids), width)
        mask = torch.zeros_like(ids)
        for row, count in enumerate(counts.tolist()):
            tokens, _ = self.with_context(input_ids[row : row + 1, input_ids.shape[1] - count :], mask.new_ones(1, count))
            ids[row, width - tokens.shape[1] :] = tokens[0]
            mask[row, width - tokens.shape[1] :] = 1
        return ids, mask


def prompted(network: nn.Module, context: ContextTokens) -> PromptedNetwork:
    """A language model that reads a context before each prompt.

    Args:
        network: A causal language model.
        context: Tokens of the context.
    """
    kind = PromptedDecoder if isinstance(network, CachedDecoder) else PromptedNetwork
    return kind(network, context).eval()
