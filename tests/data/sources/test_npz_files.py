from compress.data.sources.npz_files import npz_files


def test_a_folder_has_three_files_and_a_file_is_one(tmp_path):
    assert [file.name for file in npz_files(tmp_path)] == ["train.npz", "validation.npz", "test.npz"]
    assert npz_files(tmp_path / "all.npz") == [tmp_path / "all.npz"]
