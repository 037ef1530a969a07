"""Runner for MNN on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from compress.backends.converted.converted_runner import ConvertedRunner
from compress.backends.converted.sidecar import Sidecar
from compress.backends.runner_protocol import Array


class MnnRunner(ConvertedRunner):
    """Runs a `.mnn` file with float32 sums; int8 weights stay integers in memory (`memory: low`)."""

    package, module, extra, runtime = "mnn", "MNN", "mnn", "MNN"
    _module: Any = None

    def load(self, sidecar: Sidecar) -> None:
        """Load the network."""
        from MNN import expr, nn

        quantized = sidecar.carried != "nothing"
        config = {
            "precision": "high",
            "memory": "low" if quantized else "normal",
            "backend": 0,
            "numThread": self.threads,
        }
        manager = nn.create_runtime_manager((config,))
        names = [[*sidecar.inputs], [*sidecar.outputs]]
        self._module = nn.load_module_from_file(str(self.path), *names, runtime_manager=manager)
        self._expr = expr

    def unload(self) -> None:
        """Free the network."""
        self._module = None

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        """Run, with tensors in the layout of ONNX."""
        expr = self._expr
        variables = []
        for array in arrays:
            kind, values = (expr.int, array.astype(np.int32)) if array.dtype.kind in "iu" else (expr.float, array)
            variable = expr.placeholder([*array.shape], expr.NCHW, kind)
            variable.write(values)
            variables.append(variable)
        # copied, because the next run overwrites what `read` returns
        return [np.array(expr.convert(output, expr.NCHW).read()) for output in self._module.forward(variables)]

    def version(self) -> str:
        """Version of the package."""
        return version("mnn")
