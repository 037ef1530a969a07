"""Calibration samples of texts: of all lengths, since ranges of activations depend on the number of tokens."""

from __future__ import annotations

import random
from bisect import bisect_right
from itertools import pairwise

import numpy as np

from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.data.batch import Batch, Split
from compress.tasks.calibration_samples import PASS_BATCH, Sample

MASK = "attention_mask"


def samples_by_length(split: Split, samples: int, seed: int) -> list[Sample]:
    """Samples at evenly spaced places of the split sorted by length, in the order of the split.

    Two passes: one reads the lengths, one the chosen samples. Padding is left out, unless all batches have as many tokens, as
    those of a network with a fixed number of tokens.

    Args:
        split: Training samples.
        samples: Largest number of samples.
        seed: Seed of the place of each sample in its part of the sorted split.

    Raises:
        ConversionError: The split is empty.
    """
    parts, widths = [], set()
    for batch in split.ordered(PASS_BATCH):
        parts.append(_lengths(batch))
        widths.add(batch.inputs.get(MASK, next(iter(batch.inputs.values()))).shape[1])
    lengths = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    if not len(lengths):
        msg = gettext("there are no samples to calibrate on; the training split is empty")
        raise ConversionError(msg)
    order, draw, count = np.argsort(lengths, kind="stable"), random.Random(seed), min(samples, len(lengths))
    bounds = [len(lengths) * part // count for part in range(count + 1)]
    chosen = sorted(int(order[draw.randrange(start, stop)]) for start, stop in pairwise(bounds))
    selection: list[Sample] = []
    start = 0
    for batch in split.ordered(PASS_BATCH):
        places = _between(chosen, start, start + batch.size)
        selection += [_sample(batch, place - start, with_padding=len(widths) == 1) for place in places]
        start += batch.size
    return selection


def _between(chosen: list[int], start: int, stop: int) -> list[int]:
    return chosen[bisect_right(chosen, start - 1) : bisect_right(chosen, stop - 1)]


def _lengths(batch: Batch) -> np.ndarray:
    """Tokens of each sample: those that are no padding where there is a mask."""
    if MASK in batch.inputs:
        return batch.inputs[MASK].sum(1).cpu().numpy()
    return np.full(batch.size, next(iter(batch.inputs.values())).shape[1])


def _sample(batch: Batch, index: int, *, with_padding: bool) -> Sample:
    """One sample, with or without the padding after its last token."""
    length, mask = None, batch.inputs.get(MASK)
    if mask is not None and not with_padding:
        places = mask[index].nonzero()
        length = int(places.max()) + 1 if len(places) else None
    sample = {name: values[index : index + 1] for name, values in batch.inputs.items()}
    return {name: (values[:, :length] if values.ndim == 2 else values).numpy().copy() for name, values in sample.items()}
