"""The float file that is quantized: read, and refused where its quantized form would be wrong."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.exporter_parity import parity_inputs
from compress.backends.parity_records import check_parity_once
from compress.core.errors import ConversionError
from compress.core.stage import Candidate, Context

MIN_OPSET = 13
"""The first in which Q/DQ have a scale for each channel."""


def load_quantizable(path: Path, candidate: Candidate, context: Context) -> ir.Model:
    """The float file; refuse one that cannot be quantized, or that computes something else than the candidate's torch network.

    Quantized files are compared with the float file: were it wrong, they would seem right.

    Raises:
        ConversionError: The opset is too old, weights are not finite, or the outputs are not those of the torch network.
    """
    model = onnx_files.load(path)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < MIN_OPSET:
        msg = f"the network has ONNX opset {opset}, and quantization needs {MIN_OPSET} or later; export it again"
        raise ConversionError(msg)
    onnx_files.check_finite(model)
    if candidate.module is not None:
        check_parity_once(path, candidate.module, parity_inputs(context.data.validation), context.onnx, context.cache)
    return graphs.to_ir(model)
