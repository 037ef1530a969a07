"""What every runner of converted files must do, for the test file of each."""

import sys
from pathlib import Path

import numpy as np
import pytest

from compress.backends.converted.converted_runner import ConvertedRunner
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.open_runner import open_runner
from compress.core.errors import MissingPackageError
from compress.core.registry import lookup
from tests.backends.converted.files import IMAGES, write_float, write_int8

STEP = 0.05
"""Largest difference of int8 outputs: a few rounding steps of the largest output."""
SYMMETRIC = 0.25
"""With coarser steps of activations, on a network of 8 × 8 pixels."""


def expected(path: Path) -> np.ndarray:
    """Outputs of the ONNX file without optimizations."""
    with OnnxRuntimeRunner(path, level="off") as runner:
        return runner.run({"x": IMAGES})[0]


def check_float(runtime: str, folder: Path) -> None:
    """A float file answers like ONNX Runtime, sample by sample, and its answers stay when it runs again."""
    path = write_float(folder)
    with open_runner(runtime, path) as runner:
        found = runner.run({"x": IMAGES})[0]
        assert runner.shapes() == {"x": ((None, 3, 8, 8), "float32")}
        assert runner.describe()["threads"] == "1"
        first = runner.run({"x": IMAGES[:1]})[0]
        before = first.copy()
        runner.run({"x": -3 * IMAGES[:1]})
    np.testing.assert_array_equal(first, before)
    np.testing.assert_allclose(found, expected(path), atol=1e-4, rtol=1e-4)


def check_int8(runtime: str, folder: Path, limit: float = STEP) -> None:
    """An int8 file answers like its ONNX file."""
    path = write_int8(folder)
    reference = expected(path)
    with open_runner(runtime, path) as runner:
        found = runner.run({"x": IMAGES})[0]
    assert np.abs(found - reference).max() <= limit * np.abs(reference).max()


def check_install_line(runtime: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the error has the line that installs it."""
    with open_runner("ort", write_float(folder)) as runner:
        path = runner.path
    kind: type[ConvertedRunner] = lookup("runner", runtime).load()
    parts = kind.module.split(".")
    for module in (".".join(parts[: end + 1]) for end in range(len(parts))):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=rf"pip install 'compress\[{kind.extra}\]'"):
        kind(path).__enter__()
