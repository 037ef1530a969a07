"""Running a shipped artifact: its own script alone, on a file or a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compress.backends.export_onnx import export_onnx
from compress.core.errors import ConversionError, DataError, MissingPackageError, TrustError
from compress.export import ship_converted
from compress.export.manifest import write_labels
from compress.export.run_artifact import find_artifact, is_own_script, read_spec, require_runtime, run_artifact
from compress.export.ship_onnx import write
from tests.export.tiny import SPEC, trained


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    folder = run / "artifacts" / "host"
    folder.mkdir(parents=True)
    export_onnx(trained(), SPEC, run / "m.onnx")
    write(run / "m.onnx", folder, SPEC)
    write_labels(folder, SPEC)
    return run


def test_an_image_and_a_folder_are_classified(shipped: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 12, 3), np.uint8)).save(tmp_path / name)
    (one,) = run_artifact(shipped, tmp_path / "a.png")
    assert not one.failed
    assert "%" in one.text
    both = list(run_artifact(shipped, tmp_path))
    assert [each.title for each in both] == ["a.png", "b.png"]
    assert both[0].text == one.text


def test_a_damaged_input_fails_with_the_scripts_sentence(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"none")
    (result,) = run_artifact(shipped, tmp_path / "a.png")
    assert result.failed
    assert "cannot classify" in result.text


def test_another_script_needs_trust(shipped: Path, tmp_path: Path) -> None:
    for name in ("infer.py", "model.onnx", "labels.json"):
        (tmp_path / name).write_bytes((shipped / "artifacts" / "host" / name).read_bytes())
    with (tmp_path / "infer.py").open("a") as file:
        file.write("print('other code')\n")
    with pytest.raises(TrustError, match="is not the script that compress writes"):
        list(run_artifact(tmp_path, tmp_path / "infer.py"))


def test_folders_without_an_artifact_or_inputs_are_refused(shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="contains no artifact"):
        find_artifact(tmp_path)
    with pytest.raises(DataError, match="is neither a file nor a folder with images"):
        list(run_artifact(shipped, tmp_path))


def test_the_description_of_a_file_is_read_back(shipped: Path) -> None:
    assert read_spec(shipped / "artifacts" / "host" / "model.onnx") == SPEC


def test_the_script_of_a_converted_file_runs_without_trust_and_its_runtime_must_be_there(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "converted"
    folder.mkdir()
    source = shipped / "m.onnx"
    ship_converted.write(source, folder, read_spec(source), runtime="ort")
    assert is_own_script(folder)
    require_runtime(folder)
    (folder / "model.tflite").write_bytes(b"")
    (folder / "model.ort").unlink()
    monkeypatch.setattr("compress.export.run_artifact.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'compress\[litert\]'"):
        require_runtime(folder)
