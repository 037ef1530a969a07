"""Networks whose weights are in a second file, with a small limit in place of 2 GB: copied, moved, exported and quantized."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from compress.backends import onnx_files, onnx_session
from compress.core.errors import ConversionError


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "MAX_PROTOBUF_BYTES", 50_000)


def large() -> onnx.ModelProto:
    weight = np.random.default_rng(0).standard_normal((128, 128)).astype(np.float32)
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["": 18]> agraph (float[n, 128] x) => (float[n, 128] y) { y = MatMul(x, w) }'
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return model


def answer(path: Path) -> np.ndarray:
    return onnx_session.run(onnx_session.create_session(path), np.ones((1, 128), np.float32))


def test_a_copy_has_its_own_weights(tmp_path: Path) -> None:
    onnx_files.save(large(), tmp_path / "a.onnx")
    onnx_files.copy(tmp_path / "a.onnx", tmp_path / "b.onnx")
    expected = answer(tmp_path / "a.onnx")
    onnx_files.remove(tmp_path / "a.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.onnx", "b.onnx.data"]
    assert (answer(tmp_path / "b.onnx") == expected).all()


def test_a_moved_file_replaces_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx_files.save(large(), tmp_path / "a.onnx")
    onnx_files.save(large(), tmp_path / "b.onnx")
    expected = answer(tmp_path / "a.onnx")
    onnx_files.move(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.onnx", "b.onnx.data"]
    assert (answer(tmp_path / "b.onnx") == expected).all()
    monkeypatch.setattr(onnx_files, "MAX_PROTOBUF_BYTES", 2**31 - 1)
    onnx_files.save(large(), tmp_path / "c.onnx")
    onnx_files.move(tmp_path / "c.onnx", tmp_path / "b.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["b.onnx"]


def test_a_copy_without_the_second_file_is_an_error(tmp_path: Path) -> None:
    onnx_files.save(large(), tmp_path / "a.onnx")
    (tmp_path / "a.onnx.data").unlink()
    with pytest.raises(ConversionError, match="its external data is missing"):
        onnx_files.copy(tmp_path / "a.onnx", tmp_path / "b.onnx")


def test_a_decoder_is_exported_with_its_weights_and_answers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tests.export.decoder_artifacts import build_artifact

    artifact, candidate = build_artifact(tmp_path)
    names = {path.name for path in artifact.iterdir()}
    assert {"model.onnx", "model.onnx.data"} <= names
    assert not [name for name in names if name.startswith(".")]
    assert "model.onnx.data" in (artifact / "manifest.json").read_text()
    for part in ("float.onnx", "float.onnx.data"):
        (tmp_path / part).unlink()
    run = subprocess.run([sys.executable, "infer.py", "river stone"], cwd=artifact, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()
    assert candidate.form == "torch"
