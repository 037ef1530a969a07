"""LiteRT: a `.tflite` file, in int8 where the ONNX file has Q/DQ pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from compress.backends.converted.sidecar import Carried
from compress.backends.fixed_shapes import is_quantized
from compress.export.converters.torch_program import torch_program


def convert(source: Path, target: Path, inputs: Mapping[str, np.ndarray]) -> Carried:
    """Convert a file; products without quantized inputs or outputs stay in float.

    Args:
        source: ONNX file, float or with Q/DQ pairs.
        target: File to write.
        inputs: Example inputs by name; the file has their shapes.
    """
    import litert_torch
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig

    quantized = is_quantized(source)
    network, example = torch_program(source, inputs, unfolded=True)
    # the quantizer only selects the mode in which the converter fuses Q/DQ pairs; the scales are those of the file
    mode = QuantConfig(pt2e_quantizer=PT2EQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True)))
    litert_torch.convert(network, example, quant_config=mode if quantized else None).export(str(target))
    return "all" if quantized else "nothing"
