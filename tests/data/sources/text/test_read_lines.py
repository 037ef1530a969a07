import pytest

from compress.core.errors import DataError
from compress.data.sources.text.read_lines import read_text


def test_another_encoding_is_told_with_its_line_and_what_fits(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes("text\nfine\n服务很好\n".encode("gb18030"))
    with pytest.raises(DataError, match=r"t\.txt line 3: byte 0xb7 is not utf-8.*gb18030"):
        read_text(path, "utf-8")
    assert read_text(path, "gb18030").endswith("服务很好\n")


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes("text".encode("utf-8-sig"))
    assert read_text(path, "utf-8") == "text"
    path.write_bytes("text".encode("utf-16"))
    with pytest.raises(DataError, match="utf-16"):
        read_text(path, "UTF-8")


def test_unknown_encodings_and_missing_files_are_told(tmp_path):
    with pytest.raises(DataError, match="unknown encoding 'klingon'"):
        read_text(tmp_path, "klingon")
    with pytest.raises(DataError, match="cannot read"):
        read_text(tmp_path / "none", "utf-8")
