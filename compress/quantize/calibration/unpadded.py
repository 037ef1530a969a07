"""Calibration samples without padding: a range over padded positions contains values that no answer depends on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compress.backends.runner_protocol import Array, Feeds


def without_padding(samples: Sequence[Feeds]) -> list[dict[str, Array]]:
    """Cut each sample to the positions that its padding mask keeps, and sort the samples by length for larger batches.

    A padding mask is an integer input (1, L) with `mask` in its name and only zeros and ones. All integer inputs of its shape
    are cut; where there are no others, it is the mask of float inputs, such as audio, and those of its shape are cut. Samples
    without such an input, or with an empty mask, stay as they are.
    """
    cut = [_cut(sample) for sample in samples]
    return sorted(cut, key=lambda sample: max((array.size for array in sample.values() if array.dtype.kind in "iu"), default=0))


def _cut(sample: Feeds) -> dict[str, Array]:
    masks = [array for name, array in sample.items() if "mask" in name and _is_mask(array)]
    if len(masks) != 1 or not masks[0].any():
        return dict(sample)
    kept = np.flatnonzero(masks[0][0])
    alike = [name for name, array in sample.items() if array.shape == masks[0].shape]
    integers = [name for name in alike if sample[name].dtype.kind in "iu"]
    chosen = integers if len(integers) > 1 else alike
    return {name: np.ascontiguousarray(array[:, kept]) if name in chosen else array for name, array in sample.items()}


def _is_mask(array: Array) -> bool:
    return array.dtype.kind in "iu" and array.ndim == 2 and len(array) == 1 and bool(np.isin(array, (0, 1)).all())
