"""Select the calibration samples for which the float network has finite outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_session
from compress.backends.feeds import feeds_size, is_continuous, make_batches
from compress.backends.runner_protocol import Array, Feeds
from compress.core.errors import ConversionError
from compress.core.language import gettext


def samples_with_finite_outputs(model: ir.Model, samples: Sequence[Feeds], batch: int) -> list[Feeds]:
    """The samples for which the float network has finite outputs.

    For example, a network that standardises each image divides by 0 for a black image; ranges cannot be estimated from that.

    Args:
        model: Float network.
        samples: Inputs (1, …) by the names of the data.
        batch: Batch size.

    Raises:
        ConversionError: Samples have values that are not finite, every sample is constant, or no sample has finite outputs.
    """
    floats = [[array for array in sample.values() if is_continuous(array)] for sample in samples]
    if damaged := sum(not all(np.isfinite(array).all() for array in arrays) for arrays in floats):
        msg = gettext(
            "{damaged} of {count} calibration samples have values that are not finite; check how the data are read",
            damaged=damaged,
            count=len(samples),
        )
        raise ConversionError(msg)
    if all(arrays and all(_is_constant(array) for array in arrays) for arrays in floats):
        msg = gettext(
            "all {count} calibration samples are constant; check how the data are read and normalised", count=len(samples)
        )
        raise ConversionError(msg)
    session = onnx_session.create_session(model, threads=0)
    batches = make_batches(samples, model, batch)
    sizes = [1] * len(batches) if len(batches) == len(samples) else map(feeds_size, batches)
    finite = [row for feeds, size in zip(batches, sizes, strict=True) for row in _finite_rows(session.run(None, feeds), size)]
    if not any(finite):
        msg = gettext(
            "the float network has no finite outputs for any of {count} calibration samples; check its weights",
            count=len(samples),
        )
        raise ConversionError(msg)
    return [sample for sample, usable in zip(samples, finite, strict=True) if usable]


def _finite_rows(outputs: Sequence[Array], count: int) -> list[bool]:
    """For each of `count` samples, whether its outputs are finite; an output without batch axis counts for all samples."""
    finite = np.ones(count, bool)
    for array in outputs:
        if is_continuous(array):
            is_finite = np.isfinite(array)
            finite &= is_finite.reshape(count, -1).all(1) if array.shape[:1] == (count,) else is_finite.all()
    return [bool(value) for value in finite]


def _is_constant(array: Array) -> bool:
    return bool(array.max() == array.min())
