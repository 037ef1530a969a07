"""Seeds, and a context that restores torch's global generators."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(*numbers: int) -> int:
    """A seed of 63 bits from several numbers."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def preserve_rng(device: torch.device) -> Iterator[None]:
    """Restore the state of torch's global generators after the block."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
