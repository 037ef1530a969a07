"""Samples that a network is calibrated on: chosen from a split in one pass, so that memory holds only the chosen ones."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compress.core.errors import ConversionError
from compress.data.batch import Batch, Split

Sample: TypeAlias = Mapping[str, npt.NDArray[np.generic]]
"""Each input of one sample by name, (1, …)."""
PASS_BATCH = 64
"""Samples that are read at once."""


def spread_samples(split: Split, samples: int, seed: int) -> list[Sample]:
    """A seeded random choice in the split's order, not augmented.

    Args:
        split: Training samples.
        samples: How many at most.
        seed: Of the choice.

    Raises:
        ConversionError: The split is empty.
    """
    _check(split)
    chosen = set(random.Random(seed).sample(range(len(split)), min(samples, len(split))))
    taken: list[Sample] = []
    start = 0
    for batch in split.ordered(PASS_BATCH):
        taken += [_sample(batch, index) for index in range(batch.size) if start + index in chosen]
        start += batch.size
    return taken


def samples_of_classes(split: Split, samples: int, seed: int, classes: int) -> list[Sample]:
    """A seeded random choice, spread evenly over the classes, not augmented, one of each class in turn.

    One pass in order with a reservoir per class (Vitter 1985, algorithm R). With more classes than samples, each drawn class
    contributes one.

    Args:
        split: Training samples, each with one target, the number of its class.
        samples: How many at most; fewer where classes are too small for their share.
        seed: Of the choice.
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
        msg = "there are no samples to calibrate on; the training split is empty"
        raise ConversionError(msg)
