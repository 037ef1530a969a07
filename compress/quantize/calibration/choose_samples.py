"""Choose the training samples that a network is calibrated on."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_session
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
        for target, image in zip(batch.target.tolist(), batch.input.numpy(), strict=True):
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


def images_with_finite_outputs(model: ir.Model, images: np.ndarray, batch: int) -> np.ndarray:
    """The images for which the float network has finite outputs.

    A network that standardises each image divides by 0 for a black one, and no range can be estimated from the result.

    Args:
        model: Float network.
        images: Inputs, float32 (N, C, H, W).
        batch: Images in one run.

    Raises:
        ConversionError: Images hold values that are not finite, all have one value each, or none has finite outputs.
    """
    flat = images.reshape(len(images), -1)
    if damaged := int((~np.isfinite(flat)).any(1).sum()):
        msg = f"{damaged} of {len(images)} calibration images hold values that are not finite; check how the data are read"
        raise ConversionError(msg)
    if (flat.max(1) == flat.min(1)).all():
        msg = f"all {len(images)} calibration images are of one value each; check how the data are read and normalised"
        raise ConversionError(msg)
    session = onnx_session.create_session(model, threads=0)
    parts = [images[start : start + batch] for start in range(0, len(images), batch)]
    outputs = np.concatenate([onnx_session.run(session, part) for part in parts])
    finite = np.isfinite(outputs.reshape(len(images), -1)).all(1)
    if not finite.any():
        msg = f"the float network's outputs are not finite for any of {len(images)} calibration images; check its weights"
        raise ConversionError(msg)
    usable: np.ndarray = images[finite]
    return usable
