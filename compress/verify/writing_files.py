"""Files of a network that writes texts: a decoder, an encoder-decoder, or its encoder and its decoder apart."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from compress.backends.check_file import check_onnx_file
from compress.backends.decoder.key_value_cache import IDS
from compress.backends.decoder.split_encoder import DECODER, ENCODER
from compress.backends.file_signature import read_signature
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.data.text.settings import DECODER_IDS

MODEL = "model.onnx"
LOGITS_AXES = 3
"""Axes of logits of each token, (N, L, V)."""


class WritingFiles(NamedTuple):
    """Files of a network that writes texts.

    Attributes:
        decoder: The decoder, or the whole network.
        encoder: The encoder, where it is a file of its own.
        is_apart: Whether it reads prompts apart from responses, as an encoder-decoder does.
        tokens: Numbers of tokens below this have a row in its tables; None if unknown.
    """

    decoder: Path
    encoder: Path | None
    is_apart: bool
    tokens: int | None


def model_file(model: Path) -> Path:
    """The ONNX file of an artifact, or the file itself.

    Args:
        model: Folder of an artifact, or an ONNX file.

    Raises:
        ConversionError: A folder without a network.
    """
    if not model.is_dir():
        return model
    if not (model / MODEL).is_file():
        msg = gettext("{folder} has no {name}; give the folder of an artifact, or an ONNX file", folder=model, name=MODEL)
        raise ConversionError(msg)
    return model / MODEL


def find_writing_files(model: Path) -> WritingFiles | None:
    """The files of a network that writes texts; None for a network of another kind.

    The parts of an encoder-decoder, which its script runs, are taken in place of the whole file beside them.

    Args:
        model: ONNX file: of an artifact also that of a part.

    Raises:
        ConversionError: A file is not ONNX.
    """
    encoder, decoder = (model.parent / name for name in (ENCODER, DECODER))
    has_parts = model.name in (MODEL, ENCODER, DECODER) and encoder.is_file() and decoder.is_file()
    path, part = (decoder, encoder) if has_parts else (model, None)
    for file in (path, part):
        if file is not None:
            check_onnx_file(file)
    signature = read_signature(path)
    inputs = {spec.name: spec for spec in signature.inputs}
    ids = inputs.get(DECODER_IDS, inputs.get(IDS))
    if ids is None or len(signature.outputs[0].shape) != LOGITS_AXES:
        return None
    return WritingFiles(path, part, DECODER_IDS in inputs, None if ids.values is None else ids.values[1] + 1)
