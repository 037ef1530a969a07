"""Choose some of the samples of a split, without chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def evenly_spaced(available: int, count: int) -> npt.NDArray[np.int64]:
    """Indices of up to `count` evenly spaced samples out of `available`, so that a split sorted by class is represented."""
    return np.unique(np.linspace(0, available - 1, min(count, available)).round().astype(np.int64))
