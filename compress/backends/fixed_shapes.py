"""Example inputs of an ONNX file in fixed shapes, for conversions, and whether it has Q/DQ pairs."""

from __future__ import annotations

from pathlib import Path

from compress.backends.file_signature import read_signature
from compress.backends.read_graph import read_graph
from compress.backends.runner_protocol import Array
from compress.backends.typical_sizes import candidate_sizes
from compress.core.signature import BATCH


def example_inputs(path: Path) -> dict[str, Array]:
    """Inputs of one sample with typical sizes of free axes, by name.

    Raises:
        ConversionError: The file is not ONNX.
    """
    signature = read_signature(path)
    missing = [axis for axis in signature.free_axes if axis not in (*signature.sizes, BATCH)]
    if missing:
        signature = signature.with_sizes(**next(candidate_sizes(signature, missing)))
    return {name: tensor.numpy() for name, tensor in signature.example(1, seed=0).items()}


def is_quantized(path: Path) -> bool:
    """Whether a file has Q/DQ pairs."""
    return any(node.op_type == "QuantizeLinear" for node in read_graph(path).graph.node)
