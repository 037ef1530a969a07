"""Signal-to-quantization-noise ratio of each layer.

    SQNR = 10 log₁₀(Σ y² / Σ (y − ŷ)²)   in dB

y is the output of a layer in the float network, ŷ that in the quantized network, where earlier layers are quantized, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.feeds import make_batches
from compress.backends.runner_protocol import Feeds
from compress.quantize.qdq.placement import WEIGHTED


def layer_sqnr(model: ir.Model, quantized: ir.Model, samples: Sequence[Feeds]) -> dict[str, float]:
    """SQNR in dB by name of the layer; infinite if the outputs are equal.

    Args:
        model: Float network.
        quantized: Network quantized from it, with the same names of nodes with weights.
        samples: Inputs (1, …) by the names of the data.
    """
    before, after = (
        {str(node.name): graphs.output_names(node)[0] for node in network.graph if node.op_type in WEIGHTED}
        for network in (model, quantized)
    )
    shared = [name for name in before if name in after]
    y = _outputs(model, [before[name] for name in shared], samples)
    y_hat = _outputs(quantized, [after[name] for name in shared], samples)
    return {name: decibels(y[before[name]], y_hat[after[name]]) for name in shared}


def decibels(y: np.ndarray, y_hat: np.ndarray) -> float:
    """SQNR of a tensor, dB; infinite if ŷ equals y."""
    return energy_ratio_db(float((y.astype(np.float64) ** 2).sum()), float(((y.astype(np.float64) - y_hat) ** 2).sum()))


def energy_ratio_db(signal: float, noise: float) -> float:
    """SQNR in dB of a signal energy Σ y² and a noise energy Σ (y − ŷ)²; infinite without noise."""
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(max(signal, 1e-300) / noise))


def _outputs(model: ir.Model, names: list[str], samples: Sequence[Feeds]) -> dict[str, np.ndarray]:
    """Tensors of a network without graph optimizations, sample by sample, because the batch of a file may be fixed to 1."""
    session = onnx_session.create_session(graphs.with_outputs(model, names), optimised=False, threads=0)
    parts = [session.run(names, feeds) for feeds in make_batches(samples, model, 1)]
    return {name: np.concatenate([part[index].ravel() for part in parts]) for index, name in enumerate(names)}
