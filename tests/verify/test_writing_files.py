"""Which files of an artifact write its texts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from compress.core.errors import ConversionError
from compress.verify.writing_files import find_writing_files, model_file


def test_a_decoder_is_one_file_and_an_encoder_decoder_its_parts(language_artifact, response_artifact, tmp_path: Path) -> None:
    decoder = language_artifact[0] / "model.onnx"
    assert find_writing_files(decoder) == (decoder, None, False, 300)
    folder = response_artifact[0]
    parts = (folder / "decoder.onnx", folder / "encoder.onnx", True, 300)
    for name in ("model.onnx", "encoder.onnx", "decoder.onnx"):
        assert find_writing_files(folder / name) == parts
    for name in ("model.onnx", "weights.data"):
        shutil.copy(folder / name, tmp_path / name)
    assert find_writing_files(tmp_path / "model.onnx") == (tmp_path / "model.onnx", None, True, 300)


def test_other_networks_and_folders_without_a_network(model: Path, tmp_path: Path) -> None:
    assert find_writing_files(model) is None
    assert model_file(model) == model
    assert model_file(model.parent) == model
    with pytest.raises(ConversionError, match=r"has no model\.onnx"):
        model_file(tmp_path)
