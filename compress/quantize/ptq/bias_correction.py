"""Bias correction: rounding a layer's weights shifts the mean of its outputs; the bias takes the shift back.

Nagel et al. 2019, Data-Free Quantization, arXiv:1906.04721, section 4.2. With W̃ = s q and ε = W̃ − W

    E[W̃ x] − E[W x] = ε E[x],      b ← b − ε E[x]                      analytic

With all layers before it already rounded and corrected a layer reads x̂ in place of x, and the shift that is seen then also
holds what the others' errors do to it (appendix D). A layer is linear, so that the means of what it reads are enough:

    E[W̃ x̂] − E[W x],      b ← b − E[W̃ x̂] + E[W x]                      empirical

Symbols: W, W̃ (G, K, D); E[x], E[x̂] (G, D); b (G · K,).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from compress.backends import onnx_graph as graphs
from compress.quantize.calibration.observe import with_outputs

SAMPLES = 128
"""Samples for means and deviations of outputs; the standard error is then an eleventh of the spread of one sample."""


def bias_shift(w: np.ndarray, rounded: np.ndarray, mean: np.ndarray, found_mean: np.ndarray) -> np.ndarray:
    """E[W̃ x̂] − E[W x] of each output, (G · K,).

    Args:
        w: W.
        rounded: W̃.
        mean: E[x].
        found_mean: E[x̂]; E[x] for the analytic correction.
    """
    found: np.ndarray = (np.einsum("gkd,gd->gk", rounded, found_mean) - np.einsum("gkd,gd->gk", w, mean)).reshape(-1)
    return found


def limit_batches(batches: Sequence[np.ndarray]) -> list[np.ndarray]:
    """As many batches, spread over all, as hold `SAMPLES` samples."""
    count = min(len(batches), -(-SAMPLES // len(batches[0])))
    return [batches[number * len(batches) // count] for number in range(count)]


def output_means(model: onnx.ModelProto, names: Sequence[str], batches: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Mean of each channel of some tensors over samples and places, (K,), float64.

    Channels are axis 1 of (N, K, H, W) and the last of all else.
    """
    return {name: first for name, (first, _) in output_moments(model, names, batches).items()}


def output_moments(
    model: onnx.ModelProto, names: Sequence[str], batches: Sequence[np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and standard deviation of each channel, (K,) each, float64."""
    given = model.graph.input[0].name
    # only what the wanted tensors need is computed: the runtime drops nodes that no output needs
    pruned = with_outputs(model, names)
    kept = [value for value in pruned.graph.output if value.name in names]
    del pruned.graph.output[:]
    pruned.graph.output.extend(kept)
    runner = graphs.create_session(pruned, threads=0)
    sums: dict[str, np.ndarray] = {}
    squares: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for batch in batches:
        for name, value in zip(names, runner.run(list(names), {given: batch}), strict=True):
            rows = (np.moveaxis(value, 1, -1) if value.ndim == 4 else value).reshape(
                -1, value.shape[1 if value.ndim == 4 else -1]
            )
            exact = rows.astype(np.float64)
            sums[name] = sums.get(name, 0.0) + exact.sum(0)
            squares[name] = squares.get(name, 0.0) + (exact**2).sum(0)
            counts[name] = counts.get(name, 0) + len(rows)
    means = {name: sums[name] / counts[name] for name in names}
    return {name: (means[name], np.sqrt(np.maximum(squares[name] / counts[name] - means[name] ** 2, 0.0))) for name in names}
