"""Runner for networks that AOTInductor compiled from `torch.export`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from compress.backends.converted.converted_runner import ConvertedRunner
from compress.backends.converted.sidecar import Sidecar
from compress.backends.runner_protocol import Array


class InductorRunner(ConvertedRunner):
    """Runs a `.pt2` package on the processor that compiled it; torch has one setting of threads per process."""

    package, module, extra, runtime = "torch", "torch._inductor", "inductor", "AOTInductor"
    _model: Any = None

    def load(self, sidecar: Sidecar) -> None:  # noqa: ARG002  # the order is that of the network
        """Load the package."""
        import torch

        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns of a missing GPU
        from torch._inductor import aoti_load_package

        self._torch = torch
        self._threads_before = torch.get_num_threads()
        if self.threads:
            torch.set_num_threads(self.threads)
        self._model = aoti_load_package(str(self.path))

    def unload(self) -> None:
        """Free the package and restore the number of threads."""
        if self._model is not None:
            self._torch.set_num_threads(self._threads_before)
        self._model = None

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        """Run once."""
        with self._torch.inference_mode():
            outputs = self._model(*(self._torch.from_numpy(array) for array in arrays))
        return [output.numpy() for output in (outputs if isinstance(outputs, list | tuple) else (outputs,))]

    def version(self) -> str:
        """Version of torch."""
        return str(self._torch.__version__)
