"""Runner for Core ML, on macOS alone; no test of this package ran it."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from compress.backends.converted.converted_runner import ConvertedRunner
from compress.backends.converted.sidecar import Sidecar
from compress.backends.runner_protocol import Array
from compress.core.errors import DeviceError
from compress.core.language import gettext


class CoreMlRunner(ConvertedRunner):
    """Runs the package in a zip file on the processor; the system decides on the number of threads."""

    package, module, extra, runtime = "coremltools", "coremltools", "coreml", "Core ML"
    _model: Any = None
    _folder: tempfile.TemporaryDirectory[str]
    _inputs: list[str]
    _outputs: list[str]

    def load(self, sidecar: Sidecar) -> None:  # noqa: ARG002  # the program has its own order
        """Unpack and load the program.

        Raises:
            DeviceError: This is not macOS.
        """
        if find_spec("coremltools") is None:
            raise ImportError("coremltools")
        if sys.platform != "darwin":
            raise DeviceError(
                gettext(
                    "Core ML runs on macOS and iOS alone: {path} was converted and its structure checked, but not run",
                    path=self.path,
                )
            )
        import coremltools

        self._folder = tempfile.TemporaryDirectory()
        with zipfile.ZipFile(self.path) as archive:
            archive.extractall(self._folder.name)
        (package,) = Path(self._folder.name).glob("*.mlpackage")
        self._model = coremltools.models.MLModel(str(package), compute_units=coremltools.ComputeUnit.CPU_ONLY)
        description = self._model.get_spec().description
        self._inputs = [each.name for each in description.input]
        self._outputs = [each.name for each in description.output]

    def unload(self) -> None:
        """Free the program and its files."""
        if self._model is not None:
            self._folder.cleanup()
        self._model = None

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        """Run once; integers are int32 in Core ML."""
        feeds = [array.astype(np.int32) if array.dtype.kind in "iu" else array for array in arrays]
        outputs = self._model.predict(dict(zip(self._inputs, feeds, strict=True)))
        return [np.asarray(outputs[name]) for name in self._outputs]

    def version(self) -> str:
        """Version of the package."""
        return version("coremltools")
