"""Order of an epoch in which the sequences of a batch have similar lengths, so that little is padded."""

from __future__ import annotations

import torch
from torch import Tensor

BUCKET = 32
"""Batches whose samples are sorted by length together: more pad less, and mix less."""


def bucketed_batches(lengths: Tensor, batch_size: int, seed: int) -> list[Tensor]:
    """Batches of one epoch: every sample once, but for a last batch of one sample.

    Samples are shuffled, sorted by length within groups of `BUCKET` batches, cut into batches, and these are shuffled. So the
    batches of an epoch differ from those of another, and a batch holds sequences of similar lengths.

    Args:
        lengths: Length of each sample in tokens, int64 (N,).
        batch_size: Samples of a batch.
        seed: Of the order.

    Returns:
        Indices of each batch, int64 (B,).
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(lengths), generator=generator)
    if len(order) % batch_size == 1 and batch_size > 1:
        order = order[:-1]
    batches: list[Tensor] = []
    for group in torch.split(order, BUCKET * batch_size):
        batches += torch.split(group[lengths[group].argsort(stable=True)], batch_size)
    return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]
