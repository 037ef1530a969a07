"""Write encoder and decoder of an encoder-decoder as two files; the decoder keeps keys and values if its shape is known."""

from __future__ import annotations

from pathlib import Path

from compress.backends.decoder.key_value_cache import read_layout
from compress.backends.decoder.response_cache import add_response_cache
from compress.backends.decoder.split_encoder import DECODER, split_encoder
from compress.core.decoder_layout import DecoderLayout


def write_parts(source: Path, folder: Path, *, cache: bool = True) -> DecoderLayout | None:
    """Write `encoder.onnx` and `decoder.onnx`.

    Args:
        source: ONNX file of an encoder-decoder, float or quantized.
        folder: Folder of the new files.
        cache: The decoder keeps keys and values.

    Returns:
        The layout of the decoder; None where it keeps no keys and values.

    Raises:
        ConversionError: The file is no encoder-decoder, or its graph is not that of its layout.
        StoreError: The folder is not writable, or the disk is full.
    """
    split_encoder(source, folder)
    layout = read_layout(source) if cache else None
    if layout is not None:
        add_response_cache(folder / DECODER, layout)
    return layout
