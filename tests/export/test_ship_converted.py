import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.core.registry import entries
from compress.export.converted_script import CODES, converted_script
from compress.export.ship_converted import write
from tests.backends.converted.files import IMAGES, SPEC, write_int8


def test_the_script_of_every_converter_is_valid_python() -> None:
    assert CODES.keys() == {entry.name for entry in entries("converter")}
    for runtime in CODES:
        compile(converted_script(SPEC, runtime), runtime, "exec")


def test_the_shipped_file_runs_without_this_package_and_answers_like_the_onnx_file(tmp_path: Path) -> None:
    source, folder = write_int8(tmp_path), tmp_path / "device"
    folder.mkdir()
    write(source, folder, SPEC, runtime="ort")
    (folder / "labels.json").write_text(json.dumps(list(SPEC.classes)))
    assert {"model.ort", "model.ort.json", "model.onnx", "infer.py"} <= {path.name for path in folder.iterdir()}
    np.save(tmp_path / "image.npy", IMAGES[0])
    code = (
        "import sys, numpy, infer\n"
        f"found = infer.run({{'x': numpy.load({str(tmp_path / 'image.npy')!r})[None]}})['y']\n"
        "assert 'compress' not in sys.modules\n"
        "print(*found[0])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    with OnnxRuntimeRunner(source) as runner:
        expected = runner.run({"x": IMAGES[:1]})[0][0]
    np.testing.assert_allclose([float(number) for number in ran.stdout.split()], expected, atol=0.02 * np.abs(expected).max())
