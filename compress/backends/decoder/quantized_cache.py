"""Keys and values of earlier tokens as integers, with a scale for each channel of a head.

    k_t[g, w] ≈ s_k[g, w] · q,   q in [−2^(b−1) + 1, 2^(b−1) − 1],   s_k[g, w] = max_t |k_t[g, w]| / (2^(b−1) − 1)

and likewise for values; the maxima are those of calibration texts, after rotation. `GroupQueryAttention` of ONNX Runtime
rounds new keys and values, and reads the integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from compress.backends.decoder.session import DecoderSession

if TYPE_CHECKING:
    from compress.backends.runner_protocol import Array

Bits = Literal[4, 8]
_LEAST = 1e-6
"""Smallest maximum of a channel: a scale is not 0."""


@dataclass(frozen=True, eq=False)
class QuantizedCache:
    """Integers of a cache.

    Attributes:
        bits: b.
        scales: Of keys and values of each layer, (G · W,) float32 each.
    """

    bits: Bits
    scales: tuple[tuple[Array, Array], ...]


def calibrate_cache(path: Path, texts: Sequence[Sequence[int]], bits: Bits) -> QuantizedCache:
    """Scales from the keys and values of texts.

    Args:
        path: File with past keys and values in float32.
        texts: Token numbers; each is cut at the context of the network.
        bits: b.

    Raises:
        ConversionError: The file has no past keys and values.
    """
    session = DecoderSession(path)
    most = [[np.full(1, _LEAST, np.float32)] * 2 for _ in session.layout.layers]
    for text in texts:
        session.start()
        session.read(text[: session.capacity])
        for index, maxima in enumerate(most):
            most[index] = [
                np.maximum(maximum, np.abs(array).max(1).ravel())
                for maximum, array in zip(maxima, session.keys_and_values(index), strict=True)
            ]
    session.close()
    top = 2 ** (bits - 1) - 1
    return QuantizedCache(bits, tuple((keys / top, values / top) for keys, values in most))
