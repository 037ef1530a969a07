"""Times of speech become classes of frames; faulty times are told with their file."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.errors import DataError
from compress.data.audio.settings import AudioSettings
from compress.data.audio.speech_times import read_times
from compress.data.batch import TARGET
from compress.data.factory import load_data
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.data.text.table import TextTable
from tests.data.audio.files import change, write_manifest


def loaded(path: Path, **audio: object) -> Data:
    settings = AudioSettings.model_validate({"rate": 8000, "typical": 0.3, "most": 1.0, "targets": "speech"} | audio)
    return load_data(DataSettings(source=f"audio_manifest:{path}", audio=settings), base=path.parent)


def manifest(folder: Path) -> Path:
    path = write_manifest(folder)
    for index in range(20):
        change(path, index, speech=[[0.1, 0.2]])
    return path


def test_a_frame_is_speech_where_its_middle_is(tmp_path: Path) -> None:
    data = loaded(manifest(tmp_path))
    assert data.spec.classes == ("other", "speech")
    assert data.spec.audio is not None
    assert data.spec.audio.frame_samples == 160
    batch = next(iter(data.train.ordered(20)))
    target = batch.targets[TARGET]
    assert target.shape[1] == batch.inputs["audio"].shape[1] // 160
    assert [*{tuple(row.nonzero().flatten().tolist()) for row in (target == 1)}] == [(5, 6, 7, 8, 9)]


@pytest.mark.parametrize(
    ("cell", "times"),
    [
        ("0.3-1.2 2-2.5", [0.3, 1.2, 2.0, 2.5]),
        (["[0.3, 1.2]"], [0.3, 1.2]),
        (["0", "1e-1"], [0.0, 0.1]),
        ("none", []),
        ([], []),
        (None, None),
    ],
)
def test_times_are_read_from_texts_and_lists(cell: object, times: list[float] | None) -> None:
    assert read_times(TextTable(["a.wav"], targets=[cell])).targets == [times]  # type: ignore[list-item]


@pytest.mark.parametrize("cell", ["yes", "0.3", "1.2-0.3", "0.1-0.5 0.4-0.6"])
def test_faulty_times_are_told_with_their_file(cell: str) -> None:
    with pytest.raises(DataError, match=r"a.wav: .* are no times of speech"):
        read_times(TextTable(["a.wav"], targets=[cell]))


def test_speech_after_the_end_and_changes_of_speed_are_refused(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    with pytest.raises(DataError, match="a change of speed moves the times"):
        loaded(path, augment={})
    change(path, 3, speech="0.1-2.5")
    with pytest.raises(DataError, match=r"003.wav: speech to 2.5 s, but the file has 0.45 s"):
        loaded(path)
