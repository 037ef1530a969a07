"""Runner for LiteRT (TensorFlow Lite) on the CPU, with the XNNPACK delegate that its package adds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from compress.backends.converted.converted_runner import ConvertedRunner
from compress.backends.converted.sidecar import Sidecar
from compress.backends.runner_protocol import Array

ARGUMENT = re.compile(r"(\d+)$")
"""The index at the end of the names `args_0` and `output_0` of a signature."""


class LiteRtRunner(ConvertedRunner):
    """Runs a `.tflite` file; float inputs of an int8 file are quantized with its scales, and its outputs dequantized."""

    package, module, extra, runtime = "ai-edge-litert", "ai_edge_litert.interpreter", "litert", "LiteRT"
    _interpreter: Any = None

    def load(self, sidecar: Sidecar) -> None:  # noqa: ARG002  # the file has its own order
        """Load the network and allocate its tensors."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(self.path), num_threads=self.threads or None)
        interpreter.allocate_tensors()
        signature = interpreter.get_signature_runner()
        self._inputs = _in_order(signature.get_input_details())
        self._outputs = _in_order(signature.get_output_details())
        self._interpreter = interpreter

    def unload(self) -> None:
        """Free the network."""
        self._interpreter = None

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        """Set the inputs, invoke, and copy the outputs."""
        for detail, array in zip(self._inputs, arrays, strict=True):
            self._interpreter.set_tensor(detail["index"], _stored(array, detail))
        self._interpreter.invoke()
        return [_real(self._interpreter.get_tensor(detail["index"]), detail) for detail in self._outputs]

    def version(self) -> str:
        """Version of the package."""
        return version("ai-edge-litert")


def _in_order(details: Mapping[str, Any]) -> list[Any]:
    return [details[name] for name in sorted(details, key=_index)]


def _index(name: str) -> int:
    found = ARGUMENT.search(name)
    return int(found[1]) if found else 0


def _stored(array: Array, detail: Mapping[str, Any]) -> Array:
    """An array in the type of the file: q = round(x / s) + z in int8."""
    scale, point = detail["quantization"]
    if not scale or array.dtype.kind != "f":
        return array.astype(detail["dtype"], copy=False)
    limits = np.iinfo(detail["dtype"])
    stored: Array = np.clip(np.rint(array / scale) + point, limits.min, limits.max).astype(detail["dtype"])
    return stored


def _real(array: Array, detail: Mapping[str, Any]) -> Array:
    scale, point = detail["quantization"]
    return (array.astype(np.float32) - point) * np.float32(scale) if scale and array.dtype.kind in "iu" else array
