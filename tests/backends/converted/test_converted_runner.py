import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from compress.backends.converted.converted_runner import ConvertedRunner
from compress.backends.converted.sidecar import ENDING
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.open_runner import open_runner
from compress.core.errors import ConversionError, MissingPackageError
from compress.core.registry import entries, lookup
from tests.backends.converted.files import IMAGES, write_float, write_int8

RUNTIMES = [entry.name for entry in entries("converter")]
STEP = 0.05
"""Largest difference of int8 outputs: a few rounding steps of the largest output."""
SYMMETRIC = 0.25
"""With coarser steps of activations, on a network of 8 × 8 pixels."""


def installed(runtime: str) -> None:
    kind: type[ConvertedRunner] = lookup("runner", runtime).load()
    needed = [kind.module, lookup("converter", runtime).options["package"].replace("-", "_")]
    for module in needed:
        if importlib.util.find_spec(module.partition(".")[0] if module != "mnn" else "MNN") is None:
            pytest.skip(f"{module} is not installed: pip install 'compress[{kind.extra}]'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def expected(path: Path) -> np.ndarray:
    with OnnxRuntimeRunner(path, level="off") as runner:
        return runner.run({"x": IMAGES})[0]


def slow_ones(runtime: str) -> object:
    return pytest.param(runtime, marks=pytest.mark.slow) if runtime == "inductor" else runtime


@pytest.mark.parametrize("runtime", [slow_ones(name) for name in RUNTIMES])
def test_a_float_file_answers_like_onnx_runtime(runtime: str, folder: Path) -> None:
    installed(runtime)
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


@pytest.mark.parametrize("runtime", [slow_ones(name) for name in RUNTIMES])
def test_an_int8_file_answers_like_its_onnx_file(runtime: str, folder: Path) -> None:
    installed(runtime)
    path = write_int8(folder)
    reference = expected(path)
    with open_runner(runtime, path) as runner:
        found = runner.run({"x": IMAGES})[0]
    limit = SYMMETRIC if runtime in ("ncnn", "mnn") else STEP
    assert np.abs(found - reference).max() <= limit * np.abs(reference).max()


@pytest.mark.parametrize("runtime", [name for name in RUNTIMES if name not in ("ort", "inductor")])
def test_without_the_package_the_install_line_is_told(runtime: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_runner("ort", write_float(folder)) as runner:
        path = runner.path
    kind: type[ConvertedRunner] = lookup("runner", runtime).load()
    parts = kind.module.split(".")
    for module in (".".join(parts[: end + 1]) for end in range(len(parts))):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=rf"pip install 'compress\[{kind.extra}\]'"):
        kind(path).__enter__()


def test_inputs_that_do_not_fit_are_refused(folder: Path) -> None:
    with open_runner("ort", write_float(folder)) as runner:
        with pytest.raises(ConversionError, match="fixed shapes"):
            runner.run({"x": np.zeros((1, 3, 9, 9), np.float32)})
        with pytest.raises(ConversionError, match="expected are"):
            runner.run({"other": IMAGES})


def test_without_its_sidecar_a_file_is_not_loaded(folder: Path, tmp_path: Path) -> None:
    with open_runner("ort", write_float(folder)) as runner:
        copy = tmp_path / runner.path.name
        copy.write_bytes(runner.path.read_bytes())
    with pytest.raises(ConversionError, match=rf"model.ort{ENDING}, which describes its inputs, is missing"):
        open_runner("ort", copy).__enter__()
