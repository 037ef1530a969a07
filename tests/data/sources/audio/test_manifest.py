"""Manifests in CSV, and one for each split."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.errors import DataError
from compress.data.audio.settings import AudioSettings
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from tests.data.audio.files import write_manifest

AUDIO = AudioSettings(rate=8000, typical=0.3, most=1.0, file="path", target="said", group="who")


def test_a_folder_of_tables_with_columns_of_its_own_names(tmp_path: Path) -> None:
    write_manifest(tmp_path, 8)
    for name, rows in (("train", range(4)), ("dev", range(4, 6)), ("test", range(6, 8))):
        lines = [f'{row:03d}.wav,"a, b",{"anna" if row % 2 else "bob"}' for row in rows]
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,said,who", *lines]), encoding="utf-8")
    data = load_data(DataSettings(source="audio_manifest:.", audio=AUDIO), base=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (4, 2, 2)
    assert data.groups == ("bob", "anna")
    assert "," in data.spec.classes


def test_a_missing_column_is_told(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, 8)
    with pytest.raises(DataError, match="no column 'path'"):
        load_data(DataSettings(source=f"audio_manifest:{path}", audio=AUDIO), base=tmp_path)
    with pytest.raises(DataError, match=r"such as `audio: \{file: path"):
        load_data(DataSettings(source=f"audio_manifest:{path}", audio=AUDIO), base=tmp_path)
