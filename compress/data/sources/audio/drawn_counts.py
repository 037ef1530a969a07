"""Numbers of drawn clips of each split."""

from __future__ import annotations

from compress.data.settings import DataSettings

LEAST_CLIPS = 40
"""Fewest clips of validation and of test."""


def drawn_counts(settings: DataSettings) -> dict[str, int]:
    """Clips of `train`, `val` and `test`: `samples` for training, and further ones by the fractions of the others.

    Args:
        settings: The `data:` block.
    """
    train = min(settings.samples, settings.limit or settings.samples)
    counts = {"train": train}
    for split, fraction in (("val", settings.validation), ("test", settings.test)):
        drawn = max(LEAST_CLIPS, round(train * fraction))
        counts[split] = min(drawn, settings.evaluation_limit or drawn)
    return counts
