import pytest

pytest.importorskip("tokenizers")

from compress.core.errors import DataError
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.sources.text.plain_text import read_texts
from compress.data.text.settings import TrainedTokenizer

SMALL = TrainedTokenizer(train="wordpiece", vocabulary=60)


def test_lines_of_all_files_of_a_folder_are_texts(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_text("one two\n\nthree\n")
    (tmp_path / "b" / "c.txt").write_text("four\nfive\nsix\nseven")
    data = load_data(DataSettings(source=f"text:{tmp_path}", tokenizer=SMALL), base=tmp_path)
    assert len(data.train) + len(data.validation) + len(data.test) == 6
    assert data.spec.classes == ()
    assert next(iter(data.train.ordered(1))).targets == {}


def test_files_of_splits_are_kept(tmp_path):
    for name, lines in (("train", "a\nb\nc"), ("validation", "d"), ("test", "e\nf")):
        (tmp_path / f"{name}.txt").write_text(lines)
    data = load_data(DataSettings(source=f"text:{tmp_path}", tokenizer=SMALL), base=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (3, 1, 2)


def test_empty_files_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("\n \n")
    with pytest.raises(DataError, match="has no text"):
        read_texts([tmp_path / "a.txt"], "utf-8")
