"""Networks of transformers by their folder, as files that are profiled; files stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.backends.file_signature import read_signature
from compress.core.errors import DeviceError, ModelError
from compress.profile.export_sources import exported_sources
from compress.profile.input_shapes import parse_shapes
from compress.profile.profile_files import plan_files
from tests.models.hugging_face_folders import make_folder

pytest.importorskip("transformers")


def test_a_text_network_is_exported_with_a_free_axis_of_tokens(tmp_path: Path) -> None:
    make_folder("bert", tmp_path / "net", classes=3)
    with exported_sources([tmp_path / "other.onnx", Path(f"hf:{tmp_path / 'net'}")]) as (other, file):
        assert other == tmp_path / "other.onnx"
        assert [spec.name for spec in read_signature(file).inputs] == ["input_ids", "attention_mask", "token_type_ids"]
        inputs = plan_files([file], parse_shapes(["input_ids:2x7"]))["net"]
        assert {array.shape for array in inputs.feeds().values()} == {(2, 7)}
    assert not file.exists()


def test_two_folders_of_one_name_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    make_folder("distilbert", tmp_path / "net", classes=3)
    source = Path(f"hf:{tmp_path / 'net'}")
    with pytest.raises(DeviceError, match="two networks are named 'net'"), exported_sources([source, source]):
        pass
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no readable checkpoint"), exported_sources([Path(f"hf:{tmp_path / 'empty'}")]):
        pass


def test_of_a_run_the_first_and_the_last_network_are_taken(tmp_path: Path) -> None:
    for stage in ("00-teacher", "01-prune", "02-quantize"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "model.onnx").touch()
    (tmp_path / "03-profile").mkdir()
    with exported_sources([tmp_path]) as files:
        assert files == [tmp_path / "00-teacher" / "model.onnx", tmp_path / "02-quantize" / "model.onnx"]
