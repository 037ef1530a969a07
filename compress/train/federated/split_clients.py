"""Parts of a data set for clients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def split_iid(samples: int, clients: int, seed: int) -> list[Indices]:
    """Random parts of equal size, up to one sample.

    Args:
        samples: Number of samples, at least that of clients.
        clients: Number of clients.
        seed: Of the order.
    """
    order = np.random.default_rng(seed).permutation(samples)
    return [np.sort(part) for part in np.array_split(order, clients)]


def split_dirichlet(classes: NDArray[np.int64], clients: int, concentration: float, seed: int) -> list[Indices]:
    """Parts with uneven classes: the samples of each class are divided by shares p ~ Dir(α, …, α) over the clients.

    Hsu, Qi & Brown 2019, arXiv:1909.06335. A client that would have fewer than two samples takes them from the largest part, so
    that batch norm has a batch.

    Args:
        classes: Class of each sample, (N,), N ≥ 2 · clients.
        clients: Number of clients.
        concentration: α.
        seed: Of the shares.
    """
    draw = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in range(clients)]
    for name in np.unique(classes):
        members = draw.permutation(np.flatnonzero(classes == name))
        shares = draw.dirichlet(np.full(clients, concentration))
        ends = np.round(np.cumsum(shares)[:-1] * len(members)).astype(int)
        for part, taken in zip(parts, np.split(members, ends), strict=True):
            part.extend(taken.tolist())
    for part in parts:
        while len(part) < 2:
            part.append(max(parts, key=len).pop())
    return [np.sort(np.array(part, dtype=np.int64)) for part in parts]
