"""Runner for files in ONNX Runtime's own format, which its mobile packages read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnxruntime

from compress.backends.converted.converted_runner import ConvertedRunner
from compress.backends.converted.sidecar import Sidecar
from compress.backends.runner_protocol import Array


class OrtFormatRunner(ConvertedRunner):
    """Runs an `.ort` file on the CPU: its graph was optimized at the conversion."""

    package, module, extra, runtime = "onnxruntime", "onnxruntime", "ort", "ORT-format"
    _session: Any = None

    def load(self, sidecar: Sidecar) -> None:
        """Load the session."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        self._inputs, self._outputs = [*sidecar.inputs], [*sidecar.outputs]

    def unload(self) -> None:
        """Free the session."""
        self._session = None

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        """Run once."""
        outputs: list[Array] = self._session.run(self._outputs, dict(zip(self._inputs, arrays, strict=True)))
        return outputs

    def version(self) -> str:
        """Version of the package."""
        return str(onnxruntime.__version__)
