"""Tables of images and captions, good and bad."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compress.core.errors import DataError
from compress.core.sentences import render
from compress.data.factory import data_fingerprint, load_data
from compress.data.settings import DataSettings

TOKENIZER = {"train": "wordpiece", "vocabulary": 100}


def write(folder: Path, rows: list[dict], pictures: int = 12) -> DataSettings:
    (folder / "photos").mkdir(exist_ok=True)
    for number in range(pictures):
        level = np.full((20, 24, 3), 20 * number, np.uint8)
        Image.fromarray(level).save(folder / "photos" / f"{number}.png")
    (folder / "all.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return DataSettings(
        source=f"image_captions:{folder / 'all.jsonl'}",
        image_size=16,
        augment="none",
        tokenizer=TOKENIZER,
        test=0.25,
        validation=0.2,
    )


def rows(count: int = 12) -> list[dict]:
    return [
        {"image": f"photos/{n}.png", "caption": f"a picture of level {n}", "class": "dark" if n < 6 else "light"}
        for n in range(count)
    ]


def test_pairs_are_divided_by_image_and_read_in_order(tmp_path):
    settings = write(tmp_path, [row | {"caption": f"{row['caption']} {part}"} for row in rows() for part in "ab"])
    data = load_data(settings, base=tmp_path)
    numbers = [
        {int(n) for batch in split.ordered(4) for n in batch.targets["image_number"]}
        for split in (data.train, data.validation, data.test)
    ]
    assert set.union(*numbers) == set(range(12))
    assert sum(map(len, numbers)) == 12
    batch = next(iter(data.train.ordered(3)))
    assert batch.inputs["image"].shape == (3, 3, 16, 16)
    assert batch.inputs["input_ids"].shape == batch.inputs["attention_mask"].shape
    assert [*batch.targets] == ["image_number", "text_number"]
    assert data.spec.image_text is not None
    assert [*data.files] == ["tokenizer.json"]


def test_csv_tables_of_splits_with_other_columns(tmp_path):
    write(tmp_path, rows())
    for split, numbers in (("train", range(6)), ("validation", range(6, 8)), ("test", range(8, 12))):
        lines = "\n".join(f'../photos/{n}.png,"level {n}, grey"' for n in numbers)
        (tmp_path / "tables").mkdir(exist_ok=True)
        (tmp_path / "tables" / f"{split}.csv").write_text(f"file,words\n{lines}\n")
    settings = DataSettings(
        source=f"image_captions:{tmp_path / 'tables'}",
        image_size=16,
        tokenizer=TOKENIZER,
        columns={"image": "file", "caption": "words"},
    )
    data = load_data(settings, base=tmp_path)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [6, 2, 4]


def test_a_sentence_about_each_class_is_a_target(tmp_path):
    settings = write(tmp_path, rows())
    columns = {"target": "class", "class_sentence": "it is {}"}
    data = load_data(settings.model_copy(update={"columns": type(settings.columns)(**columns)}), base=tmp_path)
    batch = next(iter(data.test.ordered(4)))
    assert set(batch.targets) == {"image_number", "text_number", "class_number", "class_input_ids", "class_attention_mask"}
    missing = write(tmp_path, [row | {"class": ""} for row in rows()])
    with pytest.raises(DataError, match="zero-shot classification needs the class of each image"):
        load_data(missing.model_copy(update={"columns": type(settings.columns)(**columns)}), base=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": ""}, r"all\.jsonl line 3: the text 'a picture of level 2' has no image"),
        ({"caption": " "}, r"all\.jsonl line 3: photos/2\.png has no text"),
        ({"image": "photos/none.png"}, r"all\.jsonl line 3: there is no file photos/none\.png"),
    ],
)
def test_rows_that_are_no_pairs_are_told_with_their_file(tmp_path, change, message):
    faulty = rows()
    faulty[2] |= change
    with pytest.raises(DataError, match=message):
        load_data(write(tmp_path, faulty), base=tmp_path)


def test_a_picture_that_cannot_be_decoded_is_told(tmp_path):
    settings = write(tmp_path, rows())
    (tmp_path / "photos" / "4.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1 of 12 image files cannot be decoded(.|\n)*4\.png"):
        load_data(settings, base=tmp_path)


def test_pictures_without_a_caption_and_captions_from_right_to_left_are_facts(tmp_path):
    given = rows(10)
    given[3]["caption"] = "תמונה אפורה"
    data = load_data(write(tmp_path, given), base=tmp_path)
    told = "\n".join(map(render, data.warnings))
    assert "2 images beside those of the table have no caption, such as" in told
    assert "1 of 10 captions are written right to left (for example all.jsonl line 4, photos/3.png)" in told


def test_a_missing_table_is_told(tmp_path):
    settings = DataSettings(source="image_captions:nowhere", image_size=16)
    with pytest.raises(DataError, match=r"neither a table nor a folder with train\.csv"):
        load_data(settings, base=tmp_path)


def test_the_fingerprint_follows_table_and_pictures(tmp_path):
    settings = write(tmp_path, rows())
    first = data_fingerprint(settings, tmp_path)
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(tmp_path / "photos" / "0.png")
    second = data_fingerprint(settings, tmp_path)
    assert first != second
    write(tmp_path, rows(11))
    assert second != data_fingerprint(settings, tmp_path)


def test_a_missing_column_is_told_with_the_keys_of_captions(tmp_path):
    settings = write(tmp_path, [{"image": row["image"], "said": row["caption"]} for row in rows()])
    with pytest.raises(DataError, match=r"no column 'caption'.*such as `columns: \{image: file, caption: sentence\}`"):
        load_data(settings, base=tmp_path)
    (tmp_path / "all.jsonl").write_text("no json", encoding="utf-8")
    with pytest.raises(DataError, match=r'no JSON.*"caption": "…"'):
        load_data(settings, base=tmp_path)
