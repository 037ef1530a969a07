import pytest

from compress.core.errors import DataError
from compress.data.settings import DataSettings
from compress.data.sources.text.jsonl import read_jsonl
from compress.data.text.settings import Columns


def read(tmp_path, contents, **columns):
    path = tmp_path / "t.jsonl"
    path.write_text(contents, encoding="utf-8")
    return read_jsonl(path, DataSettings(source="jsonl:t.jsonl", columns=Columns(**columns)))


def test_each_line_is_a_text_with_its_target(tmp_path):
    table = read(tmp_path, '{"text": "a", "target": 1}\n\n{"text": "b\u2028c", "target": null}\n{"text": "c"}\n')
    assert table.texts == ["a", "b\u2028c", "c"]
    assert table.targets == ["1", None, None]
    assert table.origin == ["t.jsonl line 1", "t.jsonl line 3", "t.jsonl line 4"]


def test_lists_are_sets_of_classes(tmp_path):
    assert read(tmp_path, '{"s": "a", "l": ["x", "y"]}', text="s", target="l").targets == [["x", "y"]]


@pytest.mark.parametrize("line", ["{", "[1]", "3"])
def test_other_lines_are_told(tmp_path, line):
    with pytest.raises(DataError, match=r"t\.jsonl line 2: (no JSON|\w+, not a JSON object)"):
        read(tmp_path, '{"text": "a"}\n' + line)
