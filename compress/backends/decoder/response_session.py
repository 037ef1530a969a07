"""Run an encoder-decoder in ONNX Runtime: read a prompt once, then write one token of the response after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.backends.decoder.key_value_cache import IDS, MASK, is_cached
from compress.backends.decoder.session import DecoderSession
from compress.backends.decoder.split_encoder import DECODER, ENCODER
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.data.text.settings import DECODER_IDS

if TYPE_CHECKING:
    from onnxruntime import OrtValue

    from compress.backends.runner_protocol import Array

START = 0
"""Stands for the start of a response, which the network puts there."""


class ResponseSession:
    """One prompt with its response in two sessions of ONNX Runtime.

    Args:
        folder: Folder of `write_parts`.
        context: Most tokens of a prompt, and of a response.
        threads: Threads within an operator.

    Attributes:
        context: Most tokens of a prompt, and of a response.
        is_apart: Whether the response has a context of its own: always.

    Raises:
        ConversionError: A file is missing or does not load.
    """

    is_apart = True

    def __init__(self, folder: Path, *, context: int, threads: int = 1) -> None:
        self._encoder = OnnxRuntimeRunner(folder / ENCODER, threads=threads).__enter__()
        self._outputs = [each.name for each in self._encoder.session.get_outputs()]
        decoder = DecoderSession if is_cached(folder / DECODER) else _WholeDecoder
        self._decoder: DecoderSession | _WholeDecoder = decoder(folder / DECODER, threads=threads)
        self.context = context
        self._decoder.start(context)

    @property
    def length(self) -> int:
        """Tokens of the response that were read so far, with the start."""
        return self._decoder.length

    @property
    def capacity(self) -> int:
        """Most tokens of the response, with the start."""
        return self._decoder.capacity

    def key_value_bytes(self, prompt: int, text: int) -> int:
        """Bytes of the kept keys and values of a prompt and of a response, each in tokens; 0 where none are kept."""
        layout = self._decoder.layout
        part = None if layout is None else layout.response
        return 0 if layout is None or part is None else part.cross_bytes * prompt + layout.bytes_per_token * text

    def read_prompt(self, tokens: Sequence[int]) -> None:
        """Read a prompt, which a response follows.

        Args:
            tokens: Token numbers, at least one.

        Raises:
            ConversionError: The prompt exceeds the context.
        """
        if not 0 < len(tokens) <= self.context:
            msg = gettext(
                "a prompt has {count} tokens, and the network takes 1 to {most}", count=len(tokens), most=self.context
            )
            raise ConversionError(msg)
        ids = np.array([tokens], np.int64)
        self.read_inputs({IDS: ids, MASK: np.ones_like(ids)})

    def read_inputs(self, given: Mapping[str, Array]) -> None:
        """Read the inputs of one prompt, such as a clip, which a response follows.

        Args:
            given: By name, (1, …).
        """
        import onnxruntime

        prompt = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in given.items()}
        feeds = {name: prompt[name] for name in self._encoder.shapes()}
        values = self._encoder.session.run_with_ort_values(self._outputs, feeds)
        self._decoder.give(dict(zip(self._outputs, values, strict=True)) | prompt)
        self.start()

    def start(self) -> None:
        """Begin a new response to the same prompt."""
        self._decoder.start()

    def begin(self, prompt: Sequence[int], room: int) -> Array:
        """Read a prompt and the start of its response; logits of the first token, (1, V).

        Args:
            prompt: Token numbers.
            room: Most tokens of the response that are read.
        """
        self.reserve(len(prompt), room)
        self.read_prompt(prompt)
        return self.read([START])

    def reserve(self, prompt: int, room: int) -> None:  # noqa: ARG002  # keys and values of the prompt are the encoder's
        """Allocate keys and values of a response of `room` tokens, and begin a new one."""
        self._decoder.start(1 + room)

    def read(self, tokens: Sequence[int]) -> Array:
        """Read the next tokens of the response, the first of which stands for its start.

        Args:
            tokens: L token numbers.

        Returns:
            Logits of the token after each, (L, V).
        """
        return self._decoder.read(tokens)

    def close(self) -> None:
        """Free the sessions."""
        self._encoder.__exit__(None, None, None)
        self._decoder.close()


class _WholeDecoder:
    """A decoder without past keys and values: it reads all tokens of the response for each new one; see `DecoderSession`."""

    layout = None

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self._runner = OnnxRuntimeRunner(path, threads=threads).__enter__()
        self._given: dict[str, OrtValue] = {}
        self._written: list[int] = []
        self.length = self.capacity = 0

    def start(self, capacity: int | None = None) -> None:
        """Begin a new response."""
        self._written, self.length = [], 0
        self.capacity = self.capacity if capacity is None else capacity

    def give(self, values: Mapping[str, OrtValue]) -> None:
        """Set the values of a prompt."""
        known = self._runner.shapes()
        self._given = {name: value for name, value in values.items() if name in known}

    def read(self, tokens: Sequence[int]) -> Array:
        """Logits of the token after each of these, (L, V)."""
        import onnxruntime

        self._written += tokens
        self.length = len(self._written)
        ids = onnxruntime.OrtValue.ortvalue_from_numpy(np.array([self._written], np.int64))
        (name,) = (each.name for each in self._runner.session.get_outputs())
        (logits,) = self._runner.session.run_with_ort_values([name], {**self._given, DECODER_IDS: ids})
        found: Array = logits.numpy()[0, -len(tokens) :]
        return found

    def close(self) -> None:
        """Free the session."""
        self._runner.__exit__(None, None, None)
