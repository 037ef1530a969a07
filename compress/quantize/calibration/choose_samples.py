"""Choose the training samples that a network is calibrated on."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np

from compress.core.errors import ConversionError
from compress.data.batch import Split


def sample_calibration_set(split: Split, samples: int, *, classes: int, seed: int) -> np.ndarray:
    """A seeded random choice, spread evenly over the classes, not augmented.

    One pass in order with a reservoir per class (Vitter 1985, algorithm R), so that memory holds only the chosen samples.
    With more classes than samples, each drawn class contributes one.

    Args:
        split: Training samples.
        samples: How many at most; fewer where classes are too small for their share.
        classes: Number of classes.
        seed: Of the choice.

    Returns:
        Inputs, float32 (N, C, H, W), one of each class in turn.

    Raises:
        ConversionError: The split is empty.
    """
    if len(split) == 0:
        msg = "there are no samples to calibrate on; the training split is empty"
        raise ConversionError(msg)
    per_class = len(split) if len(split) <= samples else -(-samples // classes)
    draw = random.Random(seed)
    reservoirs: dict[int, list[np.ndarray]] = defaultdict(list)
    counts: dict[int, int] = defaultdict(int)
    for batch in split.ordered(64):
        for target, image in zip(batch.targets.tolist(), batch.inputs.numpy(), strict=True):
            counts[target] += 1
            reservoir = reservoirs[target]
            if len(reservoir) < per_class:
                reservoir.append(image)
            elif (index := draw.randrange(counts[target])) < per_class:
                reservoir[index] = image
    order = sorted(reservoirs)
    draw.shuffle(order)
    in_turn = [reservoirs[target][turn] for turn in range(per_class) for target in order if turn < len(reservoirs[target])]
    return np.stack(in_turn[:samples])
