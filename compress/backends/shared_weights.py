"""Keep the weights of several ONNX files of one folder in one file beside them, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import onnx
from onnx.external_data_helper import set_external_data

from compress.backends import onnx_files
from compress.core.atomic_files import atomic_write

WEIGHTS = "weights.data"
"""Name of the file."""
ALIGNMENT = 64
"""Weights begin at multiples of this, which kernels read fastest."""


Place = tuple[str, int]
"""Name of a file of weights, and where in it a tensor begins."""


def share_weights(
    folder: Path, names: Sequence[str], file_name: str = WEIGHTS, places: dict[bytes, Place] | None = None
) -> Path:
    """Move the weights of files into one file beside them, where equal ones are stored once.

    Args:
        folder: Folder of the files.
        names: Names of the ONNX files.
        file_name: Name of the new file.
        places: Where weights are stored already, by their hash: the files refer to these, and new places are added.

    Returns:
        The new file.

    Raises:
        ConversionError: A file cannot be read.
        StoreError: The folder is not writable, or the disk is full.
    """
    path, places = folder / file_name, {} if places is None else places
    models = {name: onnx_files.load(folder / name) for name in names}
    with atomic_write(path) as aside, aside.open("wb") as file:
        for model in models.values():
            for tensor in model.graph.initializer:
                _move(tensor, file, places, file_name)
    for name, model in models.items():
        with atomic_write(folder / name) as aside:
            aside.write_bytes(model.SerializeToString())
        (folder / f"{name}.data").unlink(missing_ok=True)  # of a file over 2 GB
    return path


def _move(tensor: onnx.TensorProto, file: BinaryIO, places: dict[bytes, Place], name: str) -> None:
    """Write the content of a tensor to the file, if no equal one is there, and refer to it."""
    if tensor.data_type == onnx.TensorProto.STRING or tensor.ByteSize() < onnx_files.EXTERNAL_BYTES:
        return
    content = _content(tensor)
    key = hashlib.sha256(content).digest()
    if key not in places:
        file.write(bytes(-file.tell() % ALIGNMENT))
        places[key] = name, file.tell()
        file.write(content)
    for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(field)
    tensor.raw_data = b""
    set_external_data(tensor, *places[key], len(content))
    tensor.ClearField("raw_data")


def _content(tensor: onnx.TensorProto) -> bytes:
    """Bytes of a tensor as ONNX stores them; types of 4 bits have two numbers in each byte."""
    if tensor.HasField("raw_data"):
        return bytes(tensor.raw_data)
    return bytes(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name).raw_data)
