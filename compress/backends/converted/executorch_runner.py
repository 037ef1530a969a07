"""Runner for ExecuTorch on the CPU, with its XNNPACK backend."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from compress.backends.converted.converted_runner import ConvertedRunner
from compress.backends.converted.sidecar import Sidecar
from compress.backends.runner_protocol import Array


class ExecuTorchRunner(ConvertedRunner):
    """Runs the method `forward` of a `.pte` file; the runtime has one thread pool per process."""

    package, module, extra, runtime = "executorch", "executorch.runtime", "executorch", "ExecuTorch"
    _method: Any = None

    def load(self, sidecar: Sidecar) -> None:  # noqa: ARG002  # the order is that of the network
        """Load the program."""
        import torch
        from executorch.extension.pybindings import _C
        from executorch.runtime import Runtime

        if self.threads:
            _C._unsafe_reset_threadpool(self.threads)
        self._torch = torch
        self._program = Runtime.get().load_program(self.path)
        self._method = self._program.load_method("forward")

    def unload(self) -> None:
        """Free the program."""
        self._method = self._program = None

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        """Run; the outputs are copied, because the next run overwrites them."""
        outputs = self._method.execute([self._torch.from_numpy(array) for array in arrays])
        return [np.array(output.numpy()) for output in outputs]

    def version(self) -> str:
        """Version of the package."""
        return version("executorch")
