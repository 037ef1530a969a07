"""Base of runners of converted files: names, shapes and batches are checked here, so that a runner only loads and infers."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import numpy as np

from compress.backends.converted.sidecar import Sidecar, read_sidecar
from compress.backends.runner_protocol import Array, Feeds, describe_affinity, run_error, zero_feeds
from compress.core.errors import CompressError, ConversionError, MissingPackageError
from compress.core.language import gettext


class ConvertedRunner(ABC):
    """Runs one converted file. A file for one sample runs a batch sample by sample.

    Args:
        path: The file; its sidecar is beside it.
        threads: Threads within an operator.
    """

    package: ClassVar[str]
    """Python package of the runtime."""
    module: ClassVar[str]
    """Module of the runtime."""
    extra: ClassVar[str]
    """Extra of `compress` that installs it."""
    runtime: ClassVar[str]
    """Name of the runtime for people."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self.path = path
        self.threads = threads
        self._sidecar: Sidecar | None = None

    def __enter__(self) -> Self:
        """Load the file.

        Raises:
            MissingPackageError: The runtime is not installed.
            ConversionError: The runtime rejects the file.
        """
        sidecar = read_sidecar(self.path)
        try:
            self.load(sidecar)
        except ImportError as error:
            purpose = gettext("running {path} in {runtime}", path=self.path, runtime=self.runtime)
            raise MissingPackageError(self.package, self.extra, purpose) from error
        except CompressError:
            raise
        except Exception as error:  # runtimes raise errors of their own types
            text = f"{type(error).__name__}: {str(error).strip()[-300:]}"
            msg = gettext("cannot load {path}: {runtime} rejects it ({text})", path=self.path, runtime=self.runtime, text=text)
            raise ConversionError(msg) from error
        self._sidecar = sidecar
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Free the network."""
        self._sidecar = None
        self.unload()

    def run(self, feeds: Feeds) -> list[Array]:
        """Run once and return the outputs in the order of the network.

        Raises:
            ConversionError: The inputs do not fit.
            DeviceError: Memory ran out.
        """
        sidecar = self._loaded()
        try:
            arrays = [np.ascontiguousarray(feeds[name], layout.dtype) for name, layout in sidecar.inputs.items()]
            return self._infer_all(arrays, sidecar)
        except (KeyError, ValueError, RuntimeError, MemoryError, OSError) as error:
            raise run_error(self.path, feeds, self.shapes(), error) from error

    def describe(self) -> dict[str, str]:
        """Settings for the record."""
        return {"runtime": f"{self.runtime} {self.version()}", "threads": str(self.threads), "affinity": describe_affinity()}

    def shapes(self) -> dict[str, tuple[tuple[int | str | None, ...], str]]:
        """Shape and NumPy type of each input; the first axis of a file for one sample is free."""
        sidecar = self._loaded()
        return {
            name: ((None, *layout.shape[1:]) if sidecar.repeats else layout.shape, layout.dtype)
            for name, layout in sidecar.inputs.items()
        }

    def sample(self, batch: int = 1) -> dict[str, Array]:
        """Zeros as inputs."""
        return zero_feeds(self, batch)

    @classmethod
    def import_runtime(cls) -> None:
        """Import the runtime alone.

        Raises:
            ImportError: It is not installed.
        """
        importlib.import_module(cls.module)

    @abstractmethod
    def load(self, sidecar: Sidecar) -> None:
        """Load the file; an ImportError means that the runtime is not installed."""

    @abstractmethod
    def unload(self) -> None:
        """Free the network."""

    @abstractmethod
    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        """Outputs of one inference with arrays in the shapes of the sidecar."""

    @abstractmethod
    def version(self) -> str:
        """Version of the runtime."""

    def _infer_all(self, arrays: Sequence[Array], sidecar: Sidecar) -> list[Array]:
        layouts = [*sidecar.inputs.values()]
        if all(array.shape == layout.shape for array, layout in zip(arrays, layouts, strict=True)):
            return _shaped(self.infer(arrays), sidecar)
        counts = {len(array) if array.ndim else 0 for array in arrays}
        fits = all(array.shape[1:] == layout.shape[1:] for array, layout in zip(arrays, layouts, strict=True))
        if not (sidecar.repeats and fits and len(counts) == 1):
            raise ValueError(gettext("the converted file has fixed shapes"))
        rows = [_shaped(self.infer([array[i : i + 1] for array in arrays]), sidecar) for i in range(counts.pop())]
        return [np.concatenate(each) for each in zip(*rows, strict=True)]

    def _loaded(self) -> Sidecar:
        if self._sidecar is None:
            msg = gettext("{path} is not loaded: use the runner in a with block", path=self.path)
            raise RuntimeError(msg)
        return self._sidecar


def _shaped(outputs: Sequence[Array], sidecar: Sidecar) -> list[Array]:
    """Outputs in the shapes and types of the ONNX file: some runtimes drop the axis of samples, or give int32 for int64."""
    return [
        np.asarray(output, layout.dtype).reshape(layout.shape)
        for output, layout in zip(outputs, sidecar.outputs.values(), strict=True)
    ]
