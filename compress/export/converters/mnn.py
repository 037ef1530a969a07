"""MNN: a `.mnn` file from ONNX. Its converter ends on Q/DQ pairs, so that a quantized file keeps int8 weights alone."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from compress.backends import onnx_files
from compress.backends.converted.sidecar import Carried
from compress.backends.fixed_shapes import is_quantized
from compress.export.converters.without_qdq import without_qdq

WEIGHT_BITS = ("--weightQuantBits", "8")


def convert(source: Path, target: Path, inputs: Mapping[str, np.ndarray]) -> Carried:  # noqa: ARG001
    """Convert a file.

    MNN 3.6 aborts on Q/DQ pairs with weights of convolutions. The file is therefore converted with the weights q · s in float
    and stored with 8 bits per channel, which gives back q where |q| reaches 127; activations are quantized by MNN at run time.

    Args:
        source: ONNX file, float or with Q/DQ pairs.
        target: File to write.
        inputs: Not used: MNN resizes at run time.
    """
    import _tools  # the converter of the package mnn; its command would install a package for telemetry

    quantized = is_quantized(source)
    with tempfile.TemporaryDirectory() as folder:
        read = source
        if quantized:
            read = Path(folder) / "float.onnx"
            onnx_files.save(without_qdq(source).model, read)
        options = ["-f", "ONNX", "--modelFile", str(read), "--MNNModel", str(target), "--bizCode", "compress"]
        _tools.mnnconvert(["mnnconvert", *options, *(WEIGHT_BITS if quantized else ())])
    return "weights" if quantized else "nothing"
