"""Tables of images, questions and answers, good and bad."""

from pathlib import Path

import pytest
from PIL import Image

from compress.core.errors import DataError
from compress.data.factory import data_fingerprint, load_data
from compress.data.settings import DataSettings

ROWS = [f"{n}.png,how light is it?,level {n}" for n in range(12)]


def write(folder: Path, rows: list[str], header="image,question,answer", **columns: str) -> DataSettings:
    for number in range(12):
        Image.new("RGB", (20, 24), (20 * number,) * 3).save(folder / f"{number}.png")
    (folder / "table.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    return DataSettings(
        source=f"image_questions:{folder / 'table.csv'}",
        image_size=16,
        augment="none",
        columns={"targets": "next", **columns},
        tokenizer={"train": "bpe", "vocabulary": 280},
        lengths={"typical": 24, "most": 48},
        test=0.25,
        validation=0.2,
    )


def test_a_table_is_read_with_its_own_names_of_columns(tmp_path):
    data = load_data(write(tmp_path, ROWS), base=tmp_path)
    assert sum(map(len, (data.train, data.validation, data.test))) == 12
    assert "how light is it? level" in data.train.name(0)
    named = write(tmp_path, ROWS, "image,asked,said", prompt="asked", response="said")
    again = load_data(named, base=tmp_path).train
    assert [again.name(row) for row in range(len(again))] == [data.train.name(row) for row in range(len(data.train))]
    assert "files" in data_fingerprint(named, tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",how light is it?,dark", r"table.csv line 14: the text 'dark' has no image"),
        ("3.png,how light is it?,", r"table.csv line 14: 3.png has no text"),
        ("3.png,,dark", r"1 of 13 rows \(all\) have no question, such as row 13, with the answer 'dark'"),
        ("99.png,how light is it?,dark", r"there is no file 99.png"),
    ],
)
def test_incomplete_rows_are_named(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        load_data(write(tmp_path, [*ROWS, row]), base=tmp_path)


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(DataError, match=r"has no column 'question'(.|\n)*prompt: question, response: answer"):
        load_data(write(tmp_path, ROWS, "image,asked,answer"), base=tmp_path)
