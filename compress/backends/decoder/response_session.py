"""Run an encoder-decoder in ONNX Runtime: read a prompt once, then write one token of the response after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.backends.decoder.key_value_cache import IDS, MASK
from compress.backends.decoder.split_encoder import DECODER, ENCODER
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.data.text.settings import DECODER_IDS

if TYPE_CHECKING:
    import onnxruntime

    from compress.backends.runner_protocol import Array


class ResponseSession:
    """One prompt with its response in two sessions of ONNX Runtime.

    The decoder reads all tokens of the response again for each new one.

    Args:
        folder: Folder of `split_encoder`.
        context: Most tokens of a prompt, and of a response.
        threads: Threads within an operator.

    Attributes:
        length: Tokens of the response that were read so far.
        capacity: Most tokens of the response.

    Raises:
        ConversionError: A file is missing or does not load.
    """

    def __init__(self, folder: Path, *, context: int, threads: int = 1) -> None:
        self._encoder, self._decoder = (
            OnnxRuntimeRunner(folder / name, threads=threads).__enter__() for name in (ENCODER, DECODER)
        )
        self._outputs = [each.name for each in self._encoder.session.get_outputs()]
        self._values: dict[str, onnxruntime.OrtValue] = {}
        self._written: list[int] = []
        self.length, self.capacity = 0, context

    def read_prompt(self, tokens: Sequence[int]) -> None:
        """Read a prompt, which a response follows.

        Args:
            tokens: Token numbers, at least one.

        Raises:
            ConversionError: The prompt exceeds the capacity.
        """
        import onnxruntime

        if not 0 < len(tokens) <= self.capacity:
            msg = gettext(
                "a prompt has {count} tokens, and the network takes 1 to {most}", count=len(tokens), most=self.capacity
            )
            raise ConversionError(msg)
        ids = np.array([tokens], np.int64)
        given = {IDS: ids, MASK: np.ones_like(ids)}
        prompt = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in given.items()}
        feeds = {name: prompt[name] for name in self._encoder.shapes()}
        values = self._encoder.session.run_with_ort_values(self._outputs, feeds)
        known = self._decoder.shapes()
        self._values = dict(zip(self._outputs, values, strict=True)) | {
            name: each for name, each in prompt.items() if name in known
        }
        self.start()

    def start(self) -> None:
        """Begin a new response to the same prompt."""
        self._written, self.length = [], 0

    def read(self, tokens: Sequence[int]) -> Array:
        """Read the next tokens of the response, the first of which stands for its start.

        Args:
            tokens: Token numbers.

        Returns:
            Logits of the token after each so far, (T, V).
        """
        import onnxruntime

        self._written += tokens
        self.length = len(self._written)
        ids = onnxruntime.OrtValue.ortvalue_from_numpy(np.array([self._written], np.int64))
        (name,) = (each.name for each in self._decoder.session.get_outputs())
        (logits,) = self._decoder.session.run_with_ort_values([name], {**self._values, DECODER_IDS: ids})
        found: Array = logits.numpy()[0]
        return found

    def close(self) -> None:
        """Free the sessions."""
        for runner in (self._encoder, self._decoder):
            runner.__exit__(None, None, None)
