"""Distil a draft on the positions at which its proposals were refused, while it serves.

    L = mean over refused positions of KL(p_T ‖ p_S)

Liu et al. 2023, "Online speculative decoding", arXiv:2310.07177, forward divergence. The target's distribution at a refused
position is known from the run that refused it, so that learning costs runs of the draft alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from compress.backends.decoder.speculative import SpeculativeDecoder, TextSession
from compress.backends.runner_protocol import Array
from compress.distill.losses.response import kl_divergence
from compress.distill.speculative.requests import Acceptance, ServedRequest, serve

if TYPE_CHECKING:
    from compress.distill.speculative.stage import OnlineUpdates


class ModuleSession:
    """A torch network as a session of one text; it reads the whole text for each token, so that its weights may change.

    Args:
        module: A network of token numbers and mask, on the CPU.
        context: Most tokens of a text.
    """

    def __init__(self, module: nn.Module, context: int) -> None:
        self.module, self._context = module, context
        self.length = 0
        self._text: list[int] = []

    @property
    def context(self) -> int:
        """Most tokens of a text."""
        return self._context

    def start(self, capacity: int | None = None) -> None:  # noqa: ARG002  # as a `DecoderSession` has it
        """Begin a new text."""
        self.length, self._text = 0, []

    def rewind(self, length: int) -> None:
        """Forget the tokens after the first `length`."""
        self.length = min(length, self.length)

    @torch.no_grad()
    def read(self, tokens: Sequence[int]) -> Array:
        """Logits of the token after each of the next ones, (L, V)."""
        self._text = [*self._text[: self.length], *tokens]
        self.length = len(self._text)
        ids = torch.tensor([self._text])
        logits: Array = self.module(ids, torch.ones_like(ids))[0, -len(tokens) :].float().numpy()
        return logits


def serve_and_learn(
    target: TextSession,
    draft: nn.Module,
    prompts: Sequence[Sequence[int]],
    settings: OnlineUpdates,
    *,
    k: int,
    most: int,
    stops: Collection[int],
) -> tuple[Acceptance, int]:
    """Serve requests, and update the draft in place.

    Args:
        target: Session of the target.
        draft: The draft, in eval mode on the CPU.
        prompts: Requests.
        settings: When and how to update.
        k: Tokens that the draft proposes.
        most: Longest text in tokens.
        stops: Tokens that end a text.

    Returns:
        Acceptance over all requests, and the number of refused positions.
    """
    decoder = SpeculativeDecoder(target, ModuleSession(draft, target.context), k)
    optimizer = torch.optim.AdamW(draft.parameters(), settings.lr, weight_decay=0.0)
    recent: deque[ServedRequest] = deque(maxlen=settings.buffer)
    acceptance, refused = Acceptance(), 0
    for number, prompt in enumerate(prompts, start=1):
        served = serve(decoder, prompt, most=most, stops=stops, acceptance=acceptance)
        refused += len(served.rejected)
        if served.rejected:
            recent.append(served)
        if number % settings.update_every == 0 and recent:
            for _ in range(settings.steps):
                optimizer.zero_grad()
                refused_loss(draft, list(recent)).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return acceptance, refused


def refused_loss(draft: nn.Module, requests: Sequence[ServedRequest]) -> Tensor:
    """Mean KL(p_T ‖ p_S) over the refused positions of several texts, a scalar.

    Args:
        draft: The draft.
        requests: Texts with at least one refused position each.
    """
    texts = [[*each.prompt, *each.tokens] for each in requests]
    longest = max(map(len, texts))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    rows = [(row, place) for row, each in enumerate(requests) for place in each.rejected]
    wanted = torch.from_numpy(np.stack([values for each in requests for values in each.rejected.values()]))
    places = torch.tensor(rows)
    logits = draft(ids, mask)[places[:, 0], places[:, 1]]
    return kl_divergence(wanted.log_softmax(dim=1), logits.float().log_softmax(dim=1)).mean()
