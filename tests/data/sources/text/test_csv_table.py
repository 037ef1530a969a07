import pytest

from compress.core.errors import DataError
from compress.data.settings import DataSettings
from compress.data.sources.text.csv_table import read_csv
from compress.data.text.settings import Columns


def read(tmp_path, content, name="t.csv", **columns):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    return read_csv(path, DataSettings(source=f"csv:{path}", columns=Columns(**columns)))


def test_quoted_cells_may_hold_separators_and_line_breaks(tmp_path):
    table = read(tmp_path, 'text,target\r\n"a, ""b""\nc",x\r\n\r\nd\u2028e,y\r\n')
    assert table.texts == ['a, "b"\nc', "d\u2028e"]
    assert table.targets == ["x", "y"]
    assert table.origin == ["t.csv line 3", "t.csv line 5"]


@pytest.mark.parametrize(("name", "separator"), [("t.tsv", "\t"), ("t.csv", ";"), ("t.txt", "|")])
def test_the_separator_is_that_of_the_header(tmp_path, name, separator):
    table = read(tmp_path, f"label{separator}sentence\n1{separator}a b, c\n", name, text="sentence", target="label")
    assert table.texts == ["a b, c"]
    assert table.targets == ["1"]


def test_a_row_with_other_cells_is_told_with_its_line(tmp_path):
    with pytest.raises(DataError, match=r"t\.csv line 3: 3 cells, the header has 2"):
        read(tmp_path, "text,target\na,x\nb,c,y\n")


def test_a_quote_that_is_not_closed_is_told(tmp_path):
    with pytest.raises(DataError, match=r"t\.csv line 2"):
        read(tmp_path, 'text,target\n"a,x\n')


def test_a_missing_column_is_told_with_the_nearest(tmp_path):
    with pytest.raises(DataError, match=r"no column 'text': did you mean 'texts'"):
        read(tmp_path, "texts,target\na,x\n")


def test_an_empty_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="has no rows"):
        read(tmp_path, "text,target\n")
    with pytest.raises(DataError, match="no column"):
        read(tmp_path, "")
