from pathlib import Path

import numpy as np
import pytest

from compress.backends.converted.sidecar import ENDING
from compress.backends.open_runner import open_runner, shipped_name
from compress.core.errors import ConversionError
from compress.core.registry import entries
from tests.backends.converted.files import IMAGES, write_float


def test_every_runner_has_a_test_file_of_its_own() -> None:
    here = Path(__file__).parent
    modules = {
        entry.target.partition(":")[0].rpartition(".")[2] for entry in entries("runner") if ".converted." in entry.target
    }
    assert not [name for name in modules if not (here / f"test_{name}.py").is_file()]


def test_inputs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with open_runner("ort", write_float(tmp_path)) as runner:
        with pytest.raises(ConversionError, match="fixed shapes"):
            runner.run({"x": np.zeros((1, 3, 9, 9), np.float32)})
        with pytest.raises(ConversionError, match="expected are"):
            runner.run({"other": IMAGES})


def test_without_its_sidecar_a_file_is_not_loaded(tmp_path: Path) -> None:
    with open_runner("ort", write_float(tmp_path)) as runner:
        copy = tmp_path / runner.path.name
        copy.write_bytes(runner.path.read_bytes())
    with pytest.raises(ConversionError, match=rf"model.ort{ENDING}, which describes its inputs, is missing"):
        open_runner("ort", copy).__enter__()


def test_the_file_of_a_runtime_has_the_name_of_its_format() -> None:
    path = Path("m.onnx")
    assert [shipped_name(name, path) for name in ("onnxruntime:cuda", "litert", "ncnn")] == [
        "m.onnx",
        "model.tflite",
        "model.ncnn.param",
    ]
    assert shipped_name("litert", Path("own.tflite")) == "own.tflite"
