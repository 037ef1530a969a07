"""Quantities of a metric from per-sample scores: a mean, and differences of two networks on the same samples."""

from __future__ import annotations

import numpy as np

from compress.core.record import Quantity
from compress.core.statistics import paired_difference, wilson


def proportion(scores: np.ndarray, where: str) -> Quantity:
    """Mean of per-sample scores, (N,), with its Wilson interval."""
    hits = round(float(scores.sum()))
    return Quantity.measured(
        float(scores.mean()),
        "fraction",
        f"{where}; 95 % Wilson interval",
        interval=wilson(hits, len(scores)),
        runs=len(scores),
    )


def drop(reference: np.ndarray, scores: np.ndarray, against: str) -> Quantity:
    """Mean of `reference − scores` on the same samples: how much of the metric was lost; positive is a loss."""
    return _difference(reference, scores, against)


def gain(reference: np.ndarray, scores: np.ndarray, against: str) -> Quantity:
    """Mean of `scores − reference` on the same samples: how much of the metric was gained; positive is a gain."""
    return _difference(scores, reference, against)


def _difference(first: np.ndarray, second: np.ndarray, against: str) -> Quantity:
    mean, low, high = paired_difference(first, second)
    where = f"against {against}, same {len(first)} test samples, paired 95 % interval"
    return Quantity.measured(mean, "fraction", where, interval=(low, high), runs=len(first))
