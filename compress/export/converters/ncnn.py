"""ncnn: `.param` and `.bin` files by pnnx, in int8 with the ranges of the Q/DQ pairs.

An int8 layer of ncnn has the weight scale 1 / s of each output channel and one scale 127 / max |x| of its input: activations
are symmetric, so that an asymmetric range [a, b] becomes [−m, m] with m = max(|a|, |b|) and coarser steps.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.backends import onnx_files
from compress.backends.converted.ncnn_runner import WEIGHTS
from compress.backends.converted.sidecar import Carried
from compress.backends.fixed_shapes import is_quantized
from compress.core.errors import ConversionError, MissingOperatorError
from compress.core.language import gettext
from compress.export.converters.without_qdq import FloatFile, QuantizedProduct, float_weights, without_qdq

LAYERS = ("Convolution", "ConvolutionDepthWise", "InnerProduct")
"""Layers with an int8 form."""
INT8 = np.array([0x000D4B38], "<u4").tobytes()
"""Mark of int8 weights in a `.bin` file; 0 marks float32."""
SIZE = {"Convolution": "6", "ConvolutionDepthWise": "6", "InnerProduct": "2"}
"""Parameter of a layer that is its number of weights."""
SCALES = "8"
"""Parameter of a layer that says which scales follow its weights."""
KIND_OF_SCALES = {"Convolution": 2, "ConvolutionDepthWise": 1, "InnerProduct": 2}


@dataclass(frozen=True)
class _WeightBlock:
    """Weights of a layer in the `.bin` file.

    Attributes:
        start: Position of the mark before the weights.
        count: Number of weights.
        output: Output of the node in the ONNX file.
    """

    start: int
    count: int
    output: str


def convert(source: Path, target: Path, inputs: Mapping[str, np.ndarray]) -> Carried:
    """Convert a file.

    Args:
        source: ONNX file, float or with Q/DQ pairs.
        target: The `.param` file to write; the weights are written beside it.
        inputs: Example inputs by name; the files have their shapes.

    Raises:
        ConversionError: pnnx failed.
        MissingOperatorError: It left operators that ncnn does not have.
    """
    import pnnx

    quantized = is_quantized(source)
    found = without_qdq(source) if quantized else FloatFile(onnx_files.load(source))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx_files.save(found.model, folder / "m.onnx")
        kinds = {"f": "f32", "i": "i64"}
        shapes = ",".join(f"[{','.join(map(str, each.shape))}]{kinds[each.dtype.kind]}" for each in inputs.values())
        command = [pnnx.EXEC_PATH, "m.onnx", f"inputshape={shapes}", "fp16=0"]
        if any(array.shape[:1] != (1,) for array in inputs.values()):
            raise ConversionError(gettext("ncnn runs one sample at a time; export with a batch of 1"))
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
        param, weights = folder / "m.ncnn.param", folder / "m.ncnn.bin"
        if ran.returncode or not param.is_file():
            raise ConversionError(gettext("pnnx failed: {text}", text=(ran.stderr or ran.stdout).strip()[-300:]))
        lines = param.read_text().splitlines()
        if unknown := sorted({kind for line in lines[2:] if _is_unknown(kind := line.split()[0])}):
            raise MissingOperatorError(gettext("ncnn has no operator {operators}", operators=", ".join(unknown)), unknown)
        if quantized:
            _write_int8(lines, weights.read_bytes(), found, target)
        else:
            shutil.copyfile(param, target)
            shutil.copyfile(weights, target.with_suffix(WEIGHTS))
    return "symmetric" if quantized else "nothing"


def _is_unknown(kind: str) -> bool:
    """Whether ncnn has no layer of this kind; pnnx keeps operators without one under their names in torch."""
    import ncnn

    return "." in kind or ncnn.layer_to_index(kind) < 0


def _write_int8(lines: list[str], data: bytes, found: FloatFile, target: Path) -> None:
    """Replace the weights of quantized layers by integers and their scales."""
    blocks = _blocks(data, found)
    layers = [index for index, line in enumerate(lines) if line.split()[0] in LAYERS]
    if [block.count for block in blocks] != [_size(lines[index]) for index in layers]:
        raise ConversionError(gettext("the layers that pnnx wrote are not those of the ONNX file, so that no int8 is written"))
    parts, place = [], 0
    for index, block in zip(layers, blocks, strict=True):
        product = found.products.get(block.output)
        if product is None:
            continue
        kind, channels = lines[index].split()[0], int(_parameters(lines[index])["0"])
        has_bias = int(_parameters(lines[index]).get("1" if kind == "InnerProduct" else "5", "0"))
        weights = np.ascontiguousarray(_rows_first(product, channels)).tobytes()
        end = block.start + 4 + 4 * block.count
        bias = data[end : end + 4 * channels * has_bias]
        scales = np.broadcast_to(1.0 / product.scales, (channels,)).astype("<f4").tobytes()
        scales += np.array([127.0 / product.largest], "<f4").tobytes()
        parts += [data[place : block.start], INT8, weights, bytes(-len(weights) % 4), bias, scales]
        place = end + len(bias)
        lines[index] += f" {SCALES}={KIND_OF_SCALES[kind]}"
    target.write_text("\n".join(lines) + "\n")
    target.with_suffix(WEIGHTS).write_bytes(b"".join([*parts, data[place:]]))


def _blocks(data: bytes, found: FloatFile) -> list[_WeightBlock]:
    """Where the weights of each product are, in the order of the file."""
    blocks = []
    for output, weight in float_weights(found.model).items():
        place = data.find(b"\0\0\0\0" + weight.astype("<f4").tobytes())
        if place < 0:
            raise ConversionError(gettext("the weights of {output} are not in the file that pnnx wrote", output=output))
        blocks.append(_WeightBlock(place, weight.size, output))
    return sorted(blocks, key=lambda block: block.start)


def _rows_first(product: QuantizedProduct, channels: int) -> np.ndarray:
    """Integer weights with the output channels first."""
    weights = product.weights
    return weights.T if weights.ndim == 2 and weights.shape[0] != channels else weights


def _size(line: str) -> int:
    """Number of weights of a layer."""
    return int(_parameters(line)[SIZE[line.split()[0]]])


def _parameters(line: str) -> dict[str, str]:
    """Parameters of a layer by number."""
    return dict(item.split("=", 1) for item in line.split() if "=" in item)
