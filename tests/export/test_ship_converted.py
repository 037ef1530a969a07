import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compress.backends.converted.convert import target_name
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.core.registry import entries
from compress.export.converted_script import CODES, converted_script
from compress.export.ship_converted import write
from tests.backends.converted.answers import SYMMETRIC
from tests.backends.converted.files import IMAGES, SPEC, write_int8
from tests.backends.converted.installed import installed


def test_the_script_of_every_converter_is_valid_python() -> None:
    assert CODES.keys() == {entry.name for entry in entries("converter")}
    for runtime in CODES:
        compile(converted_script(SPEC, runtime), runtime, "exec")


@pytest.mark.parametrize("runtime", ["ort", "litert", "executorch", "ncnn", "mnn"])
def test_the_shipped_file_runs_without_this_package_and_answers_like_the_onnx_file(runtime: str, tmp_path: Path) -> None:
    if runtime != "ort":
        installed(runtime)
    source, folder = write_int8(tmp_path), tmp_path / "device"
    folder.mkdir()
    write(source, folder, SPEC, runtime=runtime)
    (folder / "labels.json").write_text(json.dumps(list(SPEC.classes)))
    assert {target_name(runtime), f"{target_name(runtime)}.json", "model.onnx", "infer.py"} <= {
        path.name for path in folder.iterdir()
    }
    np.save(tmp_path / "image.npy", IMAGES[0])
    code = (
        "import sys, numpy, infer\n"
        f"found = infer.run({{'x': numpy.load({str(tmp_path / 'image.npy')!r})[None]}})['y']\n"
        "assert 'compress' not in sys.modules\n"
        "print('answer', *found[0])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    with OnnxRuntimeRunner(source) as runner:
        expected = runner.run({"x": IMAGES[:1]})[0][0]
    numbers = next(line for line in ran.stdout.splitlines() if line.startswith("answer")).split()[1:]
    limit = SYMMETRIC if runtime in ("ncnn", "mnn") else 0.02
    np.testing.assert_allclose([float(number) for number in numbers], expected, atol=limit * np.abs(expected).max())
