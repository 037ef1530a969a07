"""How much of each layer's signal is left.

    SQNR = 10 log₁₀(Σ y² / Σ (y − ŷ)²)   in dB

y is the float network's output of the layer, ŷ the quantized one's, with everything before it quantized as well.
"""

from __future__ import annotations

import numpy as np
import onnx

from compress.backends import onnx_graph as graphs
from compress.quantize.qdq.placement import WEIGHTED


def layer_sqnr(model: onnx.ModelProto, made: onnx.ModelProto, inputs: np.ndarray) -> dict[str, float]:
    """SQNR in dB by name of the layer; infinite where nothing differs.

    Args:
        model: Float network.
        made: What it was quantized to; nodes with weights keep their names.
        inputs: Samples, float32 (N, C, H, W).
    """
    before, after = (
        {node.name: node.output[0] for node in one.graph.node if node.op_type in WEIGHTED} for one in (model, made)
    )
    shared = [name for name in before if name in after]
    exact = _outputs(model, [before[name] for name in shared], inputs)
    found = _outputs(made, [after[name] for name in shared], inputs)
    return {name: decibels(exact[before[name]], found[after[name]]) for name in shared}


def decibels(exact: np.ndarray, found: np.ndarray) -> float:
    """SQNR of one tensor."""
    signal = float((exact.astype(np.float64) ** 2).sum())
    noise = float(((exact.astype(np.float64) - found) ** 2).sum())
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(max(signal, 1e-300) / noise))


def _outputs(model: onnx.ModelProto, names: list[str], inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Tensors of the graph as it is written, sample after sample, so that a file with a fixed batch of 1 serves as well."""
    runner = graphs.create_session(graphs.with_outputs(graphs.to_ir(model), names), optimised=False, threads=0)
    given = model.graph.input[0].name
    parts = [runner.run(names, {given: inputs[place : place + 1]}) for place in range(len(inputs))]
    return {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(names)}
