"""Which training samples a network is calibrated on."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np

from compress.core.errors import ConversionError
from compress.data.interface import Split


def sample_calibration_set(split: Split, samples: int, *, classes: int, seed: int) -> np.ndarray:
    """A seeded choice spread evenly over the classes, not augmented.

    One pass in order with a reservoir for each class (Vitter 1985, algorithm R), so that memory holds only what is chosen.
    With more classes than samples, each class that is drawn gives one.

    Args:
        split: Training samples.
        samples: How many at most; fewer when classes are too small to give their share.
        classes: Number of classes.
        seed: Of the choice.

    Returns:
        Inputs, float32 (N, C, H, W), class by class in turn.

    Raises:
        ConversionError: The split is empty.
    """
    if len(split) == 0:
        msg = "there are no samples to calibrate on; the training split is empty"
        raise ConversionError(msg)
    everything = len(split) <= samples
    share = len(split) if everything else -(-samples // classes)
    draw = random.Random(seed)
    kept: dict[int, list[np.ndarray]] = defaultdict(list)
    met: dict[int, int] = defaultdict(int)
    for batch in split.ordered(64):
        for target, image in zip(batch.targets.tolist(), batch.inputs.numpy(), strict=True):
            met[target] += 1
            if len(kept[target]) < share:
                kept[target].append(image)
            elif (place := draw.randrange(met[target])) < share:
                kept[target][place] = image
    order = sorted(kept)
    draw.shuffle(order)
    in_turn = [kept[one][turn] for turn in range(share) for one in order if turn < len(kept[one])]
    return np.stack(in_turn[:samples])
