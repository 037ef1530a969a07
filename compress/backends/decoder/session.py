"""Run a decoder with past keys and values in ONNX Runtime: read a prompt, then one token after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.backends.decoder.key_value_cache import IDS, MASK, PARTS, PAST, POSITIONS, PRESENT, read_layout
from compress.backends.decoder.response_cache import DECODER_MASK
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.data.text.settings import DECODER_IDS

if TYPE_CHECKING:
    from onnxruntime import OrtValue

    from compress.backends.runner_protocol import Array
    from compress.core.decoder_layout import DecoderLayout

CACHE_TYPES = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8}
"""Types of keys and values, as ONNX Runtime names them; uint8 holds two numbers of 4 bits."""


class DecoderSession:
    """One text in one session of ONNX Runtime.

    Keys and values lie in buffers for `capacity` tokens, which are input and output of each run, so that none are copied.

    Args:
        path: ONNX file of `write_cached`, or of `add_response_cache`.
        threads: Threads within an operator.

    Attributes:
        layout: Attention layers of the file.
        length: Tokens that were read so far.
        capacity: Most tokens of the text.
        is_apart: Whether the text has a context of its own: never, it follows the prompt.

    Raises:
        ConversionError: The file has no past keys and values, or does not load.
    """

    is_apart = False

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        layout = read_layout(path)
        self._runner = OnnxRuntimeRunner(path, threads=threads).__enter__()
        names = set(self._runner.shapes())
        if layout is None or PAST.format(layer=0, part=PARTS[0]) not in names:
            msg = gettext(
                "{path} has no past keys and values; give the model.onnx of an artifact of a language model", path=path
            )
            raise ConversionError(msg)
        self.layout: DecoderLayout = layout
        self._takes_positions = POSITIONS in names
        self._ids, self._mask = (IDS, MASK) if layout.response is None else (DECODER_IDS, DECODER_MASK)
        self._given: dict[str, OrtValue] = {}
        self.length = 0
        self.capacity = 0
        self._buffers: dict[tuple[int, str], OrtValue] = {}
        self.start(layout.context)

    def start(self, capacity: int | None = None) -> None:
        """Begin a new text.

        Args:
            capacity: Most tokens of it; None keeps that of the last text.
        """
        import onnxruntime

        self.length = 0
        if capacity is None or capacity == self.capacity:
            return
        self.capacity = min(capacity, self.layout.context)
        self._binding = self._runner.session.io_binding()
        inputs = {each.name: each for each in self._runner.session.get_inputs()}
        for index, part in product(range(len(self.layout.layers)), PARTS):
            past = inputs[PAST.format(layer=index, part=part)]
            shape = (1, past.shape[1], self.capacity, past.shape[3])
            buffer = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, CACHE_TYPES[past.type]))
            self._binding.bind_ortvalue_input(past.name, buffer)
            self._binding.bind_ortvalue_output(PRESENT.format(layer=index, part=part), buffer)
            self._buffers[index, part] = buffer
        for name, value in self._given.items():
            self._binding.bind_ortvalue_input(name, value)

    def give(self, values: Mapping[str, OrtValue]) -> None:
        """Set inputs that stay the same for all tokens, such as those of a prompt.

        Args:
            values: By the name of the input; others are ignored.
        """
        known = self._runner.shapes()
        self._given = {name: value for name, value in values.items() if name in known}
        for name, value in self._given.items():
            self._binding.bind_ortvalue_input(name, value)

    def keys_and_values(self, layer: int) -> tuple[Array, Array]:
        """Keys and values of a layer for all tokens so far, (G, tokens, W) each, as they are kept.

        Args:
            layer: Its number, from 0.
        """
        keys, values = (self._buffers[layer, part].numpy()[0, :, : self.length].copy() for part in PARTS)
        return keys, values  # copies: the buffers are gone with the session

    def read(self, tokens: Sequence[int]) -> Array:
        """Read the next tokens.

        Args:
            tokens: L token numbers.

        Returns:
            Logits of the token after each, (L, V), or after the last one, (1, V), float32.

        Raises:
            ConversionError: The text exceeds the capacity.
        """
        total = self.length + len(tokens)
        if total > self.capacity:
            msg = gettext(
                "a text of {total} tokens is longer than the {capacity} that the network takes",
                total=total,
                capacity=self.capacity,
            )
            raise ConversionError(msg)
        binding = self._binding
        binding.bind_output(self._runner.session.get_outputs()[0].name)  # its shape differs from the last run's
        binding.bind_cpu_input(self._ids, np.array([tokens], np.int64))
        binding.bind_cpu_input(self._mask, np.ones((1, total), np.int64))
        if self._takes_positions:
            binding.bind_cpu_input(POSITIONS, np.arange(self.length, total, dtype=np.int64)[None])
        self._runner.session.run_with_iobinding(binding)
        self.length = total
        logits: Array = binding.get_outputs()[-1].numpy()[0]
        return logits

    def begin(self, prompt: Sequence[int], room: int) -> Array:
        """Begin a text with a prompt; its logits, as of `read`.

        Args:
            prompt: Token numbers.
            room: Most tokens after the prompt.
        """
        self.reserve(len(prompt), room)
        return self.read(prompt)

    def reserve(self, prompt: int, room: int) -> None:
        """Allocate keys and values of a prompt and of the text after it, each in tokens, and begin a new text."""
        self.start(prompt + room)

    @property
    def context(self) -> int:
        """Most tokens of a text that the network takes."""
        return self.layout.context

    def key_value_bytes(self, prompt: int, text: int) -> int:
        """Bytes of the kept keys and values of a prompt and of the text after it, each in tokens."""
        return self.layout.bytes_per_token * (prompt + text)

    def rewind(self, length: int) -> None:
        """Forget the tokens after the first ones; keys and values of the next tokens take their places.

        Args:
            length: Tokens that stay, at most those read so far.
        """
        self.length = min(length, self.length)

    def close(self) -> None:
        """Free the session."""
        self._runner.__exit__(None, None, None)
