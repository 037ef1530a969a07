"""ExecuTorch: a `.pte` program whose operators run in the XNNPACK backend, in int8 where the ONNX file has Q/DQ pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from compress.backends.converted.sidecar import Carried
from compress.backends.fixed_shapes import is_quantized
from compress.export.converters.torch_program import torch_program


def convert(source: Path, target: Path, inputs: Mapping[str, np.ndarray]) -> Carried:
    """Convert a file. A product whose output is not quantized computes in float with the rounded weights.

    Args:
        source: ONNX file, float or with Q/DQ pairs.
        target: File to write.
        inputs: Example inputs by name; the program has their shapes.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    network, example = torch_program(source, inputs, requantized=True)
    program = torch.export.export(network, example, strict=False)
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    target.write_bytes(lowered.to_executorch().buffer)
    return "all" if is_quantized(source) else "nothing"
