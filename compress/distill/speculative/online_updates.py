"""Distil a draft on the positions at which its proposals were refused, while it serves.

    L = Σ_i w_i D(p_T ‖ p_S)_i / Σ_i w_i,      w_i = 1 at refused positions, and `accepted_weight` at all others of a text

Liu et al. 2023, "Online speculative decoding", arXiv:2310.07177: D is the forward divergence, and the other positions have the
weight 0. The target's distribution at a position is known from the run that judged it, so that learning costs runs of the draft
alone. Of the latest requests in the buffer each step takes some at random (replay).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from compress.backends.decoder.speculative import SpeculativeDecoder, TextSession
from compress.distill.losses.token_divergence import Kind, token_divergence
from compress.distill.speculative.module_session import ModuleSession
from compress.distill.speculative.requests import Acceptance, ServedRequest, serve

if TYPE_CHECKING:
    from compress.distill.speculative.stage import OnlineUpdates


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
    choose, keeps_all = random.Random(0), settings.accepted_weight > 0  # no secret
    acceptance, refused = Acceptance(), 0
    for number, prompt in enumerate(prompts, start=1):
        served = serve(decoder, prompt, most=most, stops=stops, acceptance=acceptance, keep_taken=keeps_all)
        refused += len(served.rejected)
        if served.rejected or served.taken:
            recent.append(served)
        if number % settings.update_every == 0 and recent:
            for _ in range(settings.steps):
                batch = choose.sample(list(recent), min(settings.batch, len(recent)))
                optimizer.zero_grad()
                loss = online_loss(draft, batch, settings.divergence, settings.accepted_weight)
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return acceptance, refused


def online_loss(
    draft: nn.Module, requests: Sequence[ServedRequest], kind: Kind = "forward", accepted_weight: float = 0.0
) -> Tensor:
    """Weighted mean of the divergence from the target over the positions of several texts, a scalar.

    Args:
        draft: The draft.
        requests: Texts with at least one position each.
        kind: The divergence, as the loss `token_divergence` names it.
        accepted_weight: Weight of positions that were not refused.
    """
    texts = [[*each.prompt, *each.tokens] for each in requests]
    longest = max(map(len, texts))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    judged = [
        (row, place, weight, values)
        for row, each in enumerate(requests)
        for weight, places in ((1.0, each.rejected), (accepted_weight, each.taken if accepted_weight else {}))
        for place, values in places.items()
    ]
    rows, places = (torch.tensor([entry[index] for entry in judged]) for index in (0, 1))
    weights = torch.tensor([weight for _, _, weight, _ in judged])
    wanted = torch.from_numpy(np.stack([values for _, _, _, values in judged]))
    divergence = token_divergence(draft(ids, mask)[rows, places], wanted, kind=kind)
    return (weights * divergence).sum() / weights.sum()
