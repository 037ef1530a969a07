"""Core ML: an ML program for iOS 17 and macOS 14 or later, in int8 where the ONNX file has Q/DQ pairs.

The package of Core ML is a folder, so it is stored as a zip file. Its structure is checked here; it runs on Apple's systems.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compress.backends.converted.sidecar import Carried
from compress.backends.fixed_shapes import is_quantized
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.export.converters.torch_program import torch_program

PACKAGE = "model.mlpackage"


def convert(source: Path, target: Path, inputs: Mapping[str, np.ndarray]) -> Carried:
    """Convert a file and check its inputs and quantized operators.

    Args:
        source: ONNX file, float or with Q/DQ pairs.
        target: Zip file to write, with the package `model.mlpackage`.
        inputs: Example inputs by name; the program has their shapes.

    Raises:
        ConversionError: Inputs or quantized operators of the program are not those of the file.
    """
    import coremltools

    network, example = torch_program(source, inputs)
    program = torch.export.export(network, example, strict=False).run_decompositions({})
    model = coremltools.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=coremltools.target.iOS17,
        compute_precision=coremltools.precision.FLOAT32,
        skip_model_load=True,
    )
    quantized = is_quantized(source)
    check_structure(model.get_spec(), inputs, quantized=quantized)
    with tempfile.TemporaryDirectory() as folder:
        model.save(str(Path(folder) / PACKAGE))
        shutil.make_archive(str(target.with_suffix("")), "zip", folder)
    return "all" if quantized else "nothing"


def check_structure(spec: Any, inputs: Mapping[str, np.ndarray], *, quantized: bool) -> None:
    """Compare the inputs of a program with those of its file, and whether it has quantized activations and weights.

    Args:
        spec: Description of the program, a message of Core ML.
        inputs: Example inputs by name, in order.
        quantized: Whether the file has Q/DQ pairs.

    Raises:
        ConversionError: They differ.
    """
    shapes = [tuple(each.type.multiArrayType.shape) for each in spec.description.input]
    expected = [array.shape for array in inputs.values()]
    if shapes != expected:
        raise ConversionError(
            gettext("the program has inputs {shapes}, expected are {expected}", shapes=shapes, expected=expected)
        )
    kinds = operators(spec)
    if quantized and not {"quantize", "constexpr_affine_dequantize"} <= kinds:
        raise ConversionError(gettext("the program has no quantized activations or weights, but the ONNX file has"))


def operators(spec: Any) -> set[str]:
    """Kinds of the operators of a program."""
    blocks = spec.mlProgram.functions["main"].block_specializations.values()
    return {operator.type for block in blocks for operator in block.operations}
