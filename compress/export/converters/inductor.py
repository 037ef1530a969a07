"""AOTInductor: a network that torch compiles ahead of time for this processor; it needs a C++ compiler."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from compress.backends.converted.sidecar import Carried
from compress.backends.fixed_shapes import is_quantized
from compress.export.converters.torch_program import torch_program


def convert(source: Path, target: Path, inputs: Mapping[str, np.ndarray]) -> Carried:
    """Compile a file. Q/DQ pairs are computed as rounding in float: the numbers are those of the file, without int8 speed.

    Args:
        source: ONNX file, float or with Q/DQ pairs.
        target: Package to write.
        inputs: Example inputs by name; the package has their shapes.
    """
    from torch._inductor import aoti_compile_and_package

    network, example = torch_program(source, inputs)
    with torch.no_grad():
        program = torch.export.export(network, example, strict=False)
        aoti_compile_and_package(program, package_path=str(target), inductor_configs={"freezing": True})
    return "all" if is_quantized(source) else "nothing"
