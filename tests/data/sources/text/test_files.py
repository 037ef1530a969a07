import pytest

from compress.core.errors import DataError
from compress.data.sources.text.files import dataset_files, split_files, table_files, text_files


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


def test_all_text_files_of_a_folder_are_found(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("a.txt", "b/c.txt", "d.csv"):
        (tmp_path / name).touch()
    assert text_files(tmp_path) == [tmp_path / "a.txt", tmp_path / "b" / "c.txt"]
    assert table_files(tmp_path, "text") == (tmp_path / "a.txt", tmp_path / "b" / "c.txt")
    with pytest.raises(DataError, match=r"neither a file nor a folder with \.txt"):
        text_files(tmp_path / "none")


def test_files_of_a_data_set_belong_to_their_splits(tmp_path):
    (tmp_path / "test").mkdir()
    for name in ("train-00000-of-00001.parquet", "test/data-00000-of-00001.arrow", "other.parquet"):
        (tmp_path / name).touch()
    assert {split: len(files) for split, files in dataset_files(tmp_path).items()} == {"train": 1, "test": 1}
