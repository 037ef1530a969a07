"""Bias correction: compensate the shift of the output means of a layer that rounding of its weights causes.

Nagel et al. 2019, Data-Free Quantization, arXiv:1906.04721, section 4.2. With W̃ = s q and ε = W̃ − W

    E[W̃ x] − E[W x] = ε E[x],      b ← b − ε E[x]                      analytic

With all earlier layers rounded and corrected, a layer reads x̂ instead of x, and the shift also contains the effect of their
errors (appendix D). A layer is linear, so the means of its inputs suffice:

    E[W̃ x̂] − E[W x],      b ← b − E[W̃ x̂] + E[W x]                      empirical

Symbols: W, W̃ (G, K, D); E[x], E[x̂] (G, D); b (G · K,).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.feeds import feeds_size
from compress.backends.runner_protocol import Feeds
from compress.quantize.ptq.input_statistics import LayerInputs

SAMPLES = 128
"""Samples for means and deviations of outputs; the standard error is then an eleventh of the standard deviation."""


def bias_shift(w: np.ndarray, w_quantized: np.ndarray, mean: np.ndarray, mean_quantized: np.ndarray) -> np.ndarray:
    """E[W̃ x̂] − E[W x] of each output, (G · K,).

    Args:
        w: W.
        w_quantized: W̃.
        mean: E[x].
        mean_quantized: E[x̂]; E[x] for the analytic correction.
    """
    shift: np.ndarray = np.einsum("gkd,gd->gk", w_quantized, mean_quantized) - np.einsum("gkd,gd->gk", w, mean)
    return shift.reshape(-1)


def no_shift(w: np.ndarray, w_quantized: np.ndarray, inputs: LayerInputs) -> np.ndarray:  # noqa: ARG001
    """Row `none` of the registry: biases do not change."""
    return np.zeros(w.shape[0] * w.shape[1])


def analytic_shift(w: np.ndarray, w_quantized: np.ndarray, inputs: LayerInputs) -> np.ndarray:
    """Row `analytic` of the registry: shift computed from the input means in the float network."""
    return bias_shift(w, w_quantized, inputs.mean, inputs.mean)


def empirical_shift(w: np.ndarray, w_quantized: np.ndarray, inputs: LayerInputs) -> np.ndarray:
    """Row `empirical` of the registry: shift with all earlier layers rounded and corrected."""
    return bias_shift(w, w_quantized, inputs.mean, inputs.mean_quantized)


def limit_batches(batches: Sequence[Feeds]) -> list[Feeds]:
    """Evenly spaced batches with at least `SAMPLES` samples in total, or all batches."""
    count = min(len(batches), -(-SAMPLES // feeds_size(batches[0])))
    return [batches[index * len(batches) // count] for index in range(count)]


def output_moments(model: ir.Model, names: Sequence[str], batches: Sequence[Feeds]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and standard deviation of each channel over samples and positions, (K,) each, float64, by tensor.

    Channels are axis 1 of (N, K, H, W) and the last axis of any other shape.
    """
    session = onnx_session.create_session(graphs.with_outputs(model, names, only=True), threads=0)
    sums: dict[str, np.ndarray] = {}
    squares: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for batch in batches:
        for name, array in zip(names, session.run(list(names), batch), strict=True):
            channels_last = np.moveaxis(array, 1, -1) if array.ndim == 4 else array
            rows = channels_last.reshape(-1, channels_last.shape[-1]).astype(np.float64)
            sums[name] = sums.get(name, 0.0) + rows.sum(0)
            squares[name] = squares.get(name, 0.0) + (rows**2).sum(0)
            counts[name] = counts.get(name, 0) + len(rows)
    means = {name: sums[name] / counts[name] for name in names}
    return {name: (means[name], np.sqrt(np.maximum(squares[name] / counts[name] - means[name] ** 2, 0.0))) for name in names}
