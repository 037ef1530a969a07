"""Runner for ncnn on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from compress.backends.converted.converted_runner import ConvertedRunner
from compress.backends.converted.sidecar import Sidecar
from compress.backends.runner_protocol import Array

WEIGHTS = ".bin"
"""Ending of the weights beside the `.param` file."""


class NcnnRunner(ConvertedRunner):
    """Runs a `.ncnn.param` file with its `.ncnn.bin`; blobs are named in0, in1, … and out0, out1, …."""

    package, module, extra, runtime = "ncnn", "ncnn", "ncnn", "ncnn"
    _network: Any = None

    def load(self, sidecar: Sidecar) -> None:
        """Load the network; numbers are float32 or int8, since float16 sums would differ from the ONNX file."""
        import ncnn

        network = ncnn.Net()
        network.opt.num_threads = self.threads
        network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
        network.opt.use_bf16_packed = network.opt.use_bf16_storage = False
        if network.load_param(str(self.path)) or network.load_model(str(self.path.with_suffix(WEIGHTS))):
            raise RuntimeError(self.path.name)
        self._network, self._mat, self._outputs = network, ncnn.Mat, len(sidecar.outputs)

    def unload(self) -> None:
        """Free the network."""
        self._network = None

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        """Run with the axis of samples removed: blobs of ncnn have none."""
        with self._network.create_extractor() as extractor:
            for index, array in enumerate(arrays):
                kind = np.int32 if array.dtype.kind in "iu" else np.float32
                extractor.input(f"in{index}", self._mat(np.ascontiguousarray(array[0], kind)).clone())
            return [np.array(extractor.extract(f"out{index}")[1]) for index in range(self._outputs)]

    def version(self) -> str:
        """Version of the package."""
        return version("ncnn")
