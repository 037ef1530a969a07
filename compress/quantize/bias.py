"""Bias correction: rounding a layer's weights shifts the mean of its outputs; the bias takes the shift back.

Nagel et al. 2019, Data-Free Quantization, arXiv:1906.04721, section 4.2. With W̃ = s q and ε = W̃ − W

    E[W̃ x] − E[W x] = ε E[x],      b ← b − ε E[x]

`shift` is that formula (analytic). `corrected` runs both networks up to a layer and takes the difference of the means, with all
layers before it already rounded and corrected (empirical; appendix D): it also sees what the others' errors do to x.

Symbols: W, W̃ (G, K, D); E[x] (G, D); b (G · K,).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from compress import graphs
from compress.progress import Reporter, Silent
from compress.quantize.calibrate import with_outputs
from compress.quantize.layers import Layer, weight_of, with_weights

ENOUGH = 64
"""Samples for the empirical means; their standard error is then an eighth of the spread of one sample."""


def shift(w: np.ndarray, rounded: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """E[W̃ x] − E[W x] of each output, (G · K,).

    Args:
        w: W.
        rounded: W̃.
        mean: E[x].
    """
    found: np.ndarray = np.einsum("gkd,gd->gk", rounded - w, mean).reshape(-1)
    return found


def corrected(
    model: onnx.ModelProto,
    rounded: Mapping[str, np.ndarray],
    layers: Sequence[Layer],
    batches: Sequence[np.ndarray],
    *,
    reporter: Reporter | None = None,
) -> dict[str, np.ndarray]:
    """Biases after the empirical correction, by initializer.

    Args:
        model: Float network in which every layer that is to be corrected has a bias.
        rounded: Weights on their grid, as stored, by initializer.
        layers: In graph order.
        batches: Inputs; the first `ENOUGH` samples are used.
        reporter: Shows a bar.
    """
    used = [batch for number, batch in enumerate(batches) if number * len(batches[0]) < ENOUGH]
    values = dict(rounded)
    biases: dict[str, np.ndarray] = {}
    wanted = {layer.name: layer for layer in layers if layer.bias}
    exact = output_means(model, [layer.output for layer in wanted.values()], used)
    with (reporter or Silent()).bar("correct biases", len(wanted)) as bar:
        for layer in wanted.values():
            found = output_means(with_weights(model, values), [layer.output], used)[layer.output]
            biases[layer.bias] = weight_of(model, layer.bias) - (found - exact[layer.output]).astype(np.float32)
            values[layer.bias] = biases[layer.bias]
            bar.advance()
    return biases


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
    runner = graphs.session(pruned, threads=0)
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
