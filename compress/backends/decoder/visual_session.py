"""Run `vision.onnx` and `language.onnx` in ONNX Runtime: see an image, read a question, then one token after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from compress.backends.decoder.key_value_cache import IDS, MASK, POSITIONS
from compress.backends.decoder.split_vision import LANGUAGE, VISION, VISUAL
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner

if TYPE_CHECKING:
    from types import TracebackType

    from compress.backends.runner_protocol import Array, Feeds


class VisualSession:
    """One image with a text, inside a `with` block.

    Args:
        folder: Folder of both files.
        threads: Threads within an operator.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self.vision, self.language = (OnnxRuntimeRunner(folder / name, threads=threads) for name in (VISION, LANGUAGE))
        self._visual = np.zeros((1, 0, 0), np.float32)
        self._past: dict[str, Array] = {}
        self._seen = 0

    def __enter__(self) -> Self:
        self.vision.__enter__()
        self.language.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.language.__exit__(kind, error, trace)
        self.vision.__exit__(kind, error, trace)

    def see(self, image: Feeds) -> None:
        """Compute the visual tokens of an image, and begin a text after it.

        Args:
            image: By the name of the input, (1, C, H, W).
        """
        (self._visual,) = self.vision.run(image)
        self._past, self._seen = empty_past(self.language), 0

    def read(self, tokens: Sequence[int]) -> Array:
        """Logits of the token after these, (V,)."""
        logits, *present = self.language.run({**self.feeds(tokens), **self._past})
        self._seen += self._visual.shape[1] + len(tokens)
        self._past, self._visual = dict(zip(self._past, present, strict=True)), self._visual[:, :0]
        last: Array = logits[0, -1]
        return last

    def feeds(self, tokens: Sequence[int]) -> dict[str, Array]:
        """Inputs of the decoder for further tokens, without keys and values."""
        total = self._seen + self._visual.shape[1] + len(tokens)
        values: dict[str, Array] = {
            VISUAL: self._visual,
            IDS: np.array([tokens], np.int64),
            MASK: np.ones((1, total), np.int64),
            POSITIONS: np.arange(self._seen, total, dtype=np.int64)[None],
        }
        return {name: array for name, array in values.items() if name in self.language.shapes()}

    @property
    def past(self) -> dict[str, Array]:
        """Keys and values of all tokens so far."""
        return self._past


def empty_past(runner: OnnxRuntimeRunner) -> dict[str, Array]:
    """Keys and values of no token."""
    shapes = {name: shape for name, (shape, _) in runner.shapes().items() if name.startswith("past_key_values")}
    return {name: np.zeros((1, int(shape[1] or 0), 0, int(shape[3] or 0)), np.float32) for name, shape in shapes.items()}
