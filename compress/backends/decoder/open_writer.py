"""Open a file of a network that writes texts, with past keys and values: a language model, or an encoder-decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from compress.backends.decoder.key_value_cache import is_cached, read_layout, write_cached
from compress.backends.decoder.response_files import write_parts
from compress.backends.decoder.response_session import ResponseSession
from compress.backends.decoder.session import DecoderSession
from compress.backends.decoder.split_encoder import DECODER, ENCODER
from compress.backends.shared_weights import share_weights

if TYPE_CHECKING:
    from compress.backends.runner_protocol import Array


class Writer(Protocol):
    """A network that reads a prompt, and then the tokens of the text that it writes.

    Attributes:
        context: Most tokens of a prompt; those of a language model share them with its text.
        is_apart: Whether the text has a context of its own, as that of an encoder-decoder.
    """

    is_apart: bool

    @property
    def context(self) -> int:
        """Most tokens of a prompt."""

    def reserve(self, prompt: int, room: int) -> None:
        """Allocate what a prompt and the text after it need, each in tokens; `begin` then allocates nothing."""

    def begin(self, prompt: Sequence[int], room: int) -> Array:
        """Read a prompt, after which `room` tokens fit; the last row of the result are the logits of the first token."""

    def read(self, tokens: Sequence[int]) -> Array:
        """Read the next tokens; the last row of the result are the logits of the token after them."""

    def key_value_bytes(self, prompt: int, text: int) -> int:
        """Bytes of the kept keys and values of a prompt and of a text, each in tokens."""

    def close(self) -> None:
        """Free the sessions."""


def prepare(path: Path, folder: Path) -> Path:
    """A file with past keys and values, or a folder with both parts of an encoder-decoder and their weights.

    Args:
        path: ONNX file with the layout of a decoder; one that has past keys and values is taken as it is.
        folder: New folder for what is written.

    Raises:
        ConversionError: The file has no layout, or its graph is another one.
    """
    layout = read_layout(path)
    if layout is None or layout.response is None:
        if is_cached(path):
            return path
        folder.mkdir(parents=True, exist_ok=True)
        write_cached(path, folder / path.name)
        return folder / path.name
    folder.mkdir(parents=True, exist_ok=True)
    write_parts(path, folder)
    share_weights(folder, (ENCODER, DECODER))
    return folder


def open_prepared(prepared: Path, *, threads: int = 1) -> Writer:
    """A session of what `prepare` gives, to be closed by the caller; arguments and errors as for `open_writer`."""
    if not prepared.is_dir():
        return DecoderSession(prepared, threads=threads)
    layout = read_layout(prepared / DECODER)
    assert layout is not None  # noqa: S101  # `prepare` keeps it
    return ResponseSession(prepared, context=layout.context, threads=threads)


@contextmanager
def open_writer(path: Path, *, threads: int = 1) -> Iterator[Writer]:
    """A session of a file with the layout of a decoder, which gets past keys and values where it has none.

    Args:
        path: ONNX file.
        threads: Threads within an operator; 0 for all processors.

    Raises:
        ConversionError: The file has no layout, its graph is another one, or it does not load.
    """
    with TemporaryDirectory() as folder:
        writer = open_prepared(prepare(path, Path(folder) / "files"), threads=threads)
        try:
            yield writer
        finally:
            writer.close()
