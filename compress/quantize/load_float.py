"""Load the float file to quantize and check that it can be quantized."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.exporter_parity import parity_inputs
from compress.backends.parity_records import check_parity_once
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.core.stage import Candidate, Context
from compress.quantize.fold_weights import fold_stored_weights

MIN_OPSET = 13
"""The first opset in which Q/DQ may have one scale per channel."""


def load_quantizable(path: Path, candidate: Candidate, context: Context) -> ir.Model:
    """Load a float file and check it against the candidate's torch network.

    The check is necessary because quantized files are only compared with the float file.

    Raises:
        ConversionError: The opset is too old, weights are not finite, or the outputs differ from those of the torch network.
    """
    model = onnx_files.load(path)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < MIN_OPSET:
        msg = gettext(
            "the network has ONNX opset {opset}, but quantization needs opset {min_opset} or later; export it again",
            opset=opset,
            min_opset=MIN_OPSET,
        )
        raise ConversionError(msg)
    onnx_files.check_finite(model)
    if candidate.module is not None:
        check_parity_once(path, candidate.module, parity_inputs(context.data.validation), context.onnx, context.cache)
    indexed = graphs.to_ir(model)
    fold_stored_weights(indexed)
    return indexed
