"""Choice of calibration samples of a split in one pass, with only the chosen samples in memory."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.data.batch import Batch, Split

Sample: TypeAlias = Mapping[str, npt.NDArray[np.generic]]
"""Inputs of one sample by name, each (1, …)."""
PASS_BATCH = 64
"""Number of samples per batch while reading."""


def spread_samples(split: Split, samples: int, seed: int) -> list[Sample]:
    """A seeded random choice in the order of the split, not augmented.

    Args:
        split: Training samples.
        samples: Largest number of samples.
        seed: Seed of the choice.

    Raises:
        ConversionError: The split is empty.
    """
    _check(split)
    indices = set(random.Random(seed).sample(range(len(split)), min(samples, len(split))))
    selection: list[Sample] = []
    start = 0
    for batch in split.ordered(PASS_BATCH):
        selection += [_sample(batch, index) for index in range(batch.size) if start + index in indices]
        start += batch.size
    return selection


def samples_of_classes(split: Split, samples: int, seed: int, classes: int) -> list[Sample]:
    """A seeded random choice with equal numbers of all classes, not augmented, one sample of each class in turn.

    One pass in order with a reservoir per class (Vitter 1985, algorithm R). With more classes than samples, each drawn class
    contributes one.

    Args:
        split: Training samples, each with its class as the only target.
        samples: Largest number of samples; fewer if some classes are too small.
        seed: Seed of the choice.
        classes: Number of classes.

    Raises:
        ConversionError: The split is empty.
    """
    _check(split)
    per_class = len(split) if len(split) <= samples else -(-samples // max(classes, 1))
    draw = random.Random(seed)
    reservoirs: dict[int, list[Sample]] = defaultdict(list)
    counts: dict[int, int] = defaultdict(int)
    for batch in split.ordered(PASS_BATCH):
        for index, target in enumerate(batch.target.tolist()):
            counts[target] += 1
            reservoir = reservoirs[target]
            if len(reservoir) < per_class:
                reservoir.append(_sample(batch, index))
            elif (position := draw.randrange(counts[target])) < per_class:
                reservoir[position] = _sample(batch, index)
    order = sorted(reservoirs)
    draw.shuffle(order)
    in_turn = [reservoirs[target][turn] for turn in range(per_class) for target in order if turn < len(reservoirs[target])]
    return in_turn[:samples]


def _sample(batch: Batch, index: int) -> Sample:
    return {name: values[index : index + 1].numpy().copy() for name, values in batch.inputs.items()}


def _check(split: Split) -> None:
    if len(split) == 0:
        msg = gettext("there are no samples to calibrate on; the training split is empty")
        raise ConversionError(msg)
