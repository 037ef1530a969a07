import pytest

from compress.core.errors import DataError
from compress.data.sources.text.files import split_files, table_files


def test_a_folder_has_a_file_for_each_split(tmp_path):
    for name in ("train.csv", "dev.tsv", "other.csv"):
        (tmp_path / name).touch()
    assert split_files(tmp_path, "csv") == {"train": tmp_path / "train.csv", "val": tmp_path / "dev.tsv"}
    assert table_files(tmp_path / "other.csv", "csv") == (tmp_path / "other.csv",)


def test_two_files_of_one_split_are_refused(tmp_path):
    for name in ("train.csv", "dev.csv", "val.csv"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"val\.csv, dev\.csv"):
        split_files(tmp_path, "csv")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"neither a file nor a folder with train\.csv"):
        split_files(tmp_path / "none", "csv")
