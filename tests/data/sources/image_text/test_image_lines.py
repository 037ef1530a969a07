import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compress.core.errors import DataError
from compress.core.sentences import render
from compress.data.factory import data_fingerprint, load_data
from compress.data.settings import DataSettings
from compress.data.sources.image_text.draw_line import MOST_CHARACTERS, draw_line
from compress.data.text.settings import Columns


def write(folder: Path, texts: dict[str, list[str]]) -> DataSettings:
    for split, lines in texts.items():
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["image", "text"])
            for number, text in enumerate(lines):
                level = np.random.default_rng(number + len(split)).integers(0, 256, (12, 40), dtype=np.uint8)
                Image.fromarray(level).save(folder / f"{split}-{number}.png")
                table.writerow([f"{split}-{number}.png", text])
    return DataSettings(source=f"image_lines:{folder}", image_size=[16, 48], channels=1, augment="none")


def test_a_table_of_lines_gives_images_and_characters(tmp_path):
    settings = write(tmp_path, {"train": ["ab", "a  b", "ba"], "validation": ["b"], "test": ["aé", "a"]})
    data = load_data(settings, base=tmp_path)
    assert data.spec.classes == ("<blank>", " ", "a", "b")
    batch = next(iter(data.train.ordered(3)))
    assert batch.input.shape == (3, 1, 16, 48)
    assert batch.targets["target"].tolist() == [[2, 3, -100], [2, 1, 3], [3, 2, -100]]
    told = "\n".join(map(render, data.warnings))
    assert "1 validation and test texts have characters that no training text has, such as aé" in told
    first = data_fingerprint(settings, tmp_path)
    (tmp_path / "train.csv").write_text("image,text\ntrain-0.png,ab\ntrain-1.png,b\n")
    assert data_fingerprint(settings, tmp_path) != first


def test_a_line_without_a_text_is_told_with_its_file(tmp_path):
    settings = write(tmp_path, {"train": ["ab", " ", "ba"], "test": ["b"]})
    with pytest.raises(DataError, match=r"train\.csv line 3: train-1\.png has no text"):
        load_data(settings, base=tmp_path)


def test_drawn_lines_are_within_the_image_and_the_same_for_a_seed():
    for seed in range(20):
        image, text = draw_line(np.random.default_rng(seed), (24, 96))
        again, same = draw_line(np.random.default_rng(seed), (24, 96))
        assert text == same
        assert 2 <= len(text) <= MOST_CHARACTERS
        assert (image == again).all()
        grey = image.mean(0)
        ink = np.abs(grey - np.median(grey, axis=0, keepdims=True)) > 45
        assert ink[:, :1].mean() < 0.2
        assert ink.any()


def test_columns_of_other_names_are_named_in_the_recipe(tmp_path):
    settings = write(tmp_path, {"train": ["ab", "ab", "ba"], "validation": ["b"], "test": ["a"]})
    for file in tmp_path.glob("*.csv"):
        file.write_text(file.read_text().replace("image,text", "scan,said"))
    with pytest.raises(DataError, match=r"no column 'text'.*such as `columns: \{image: file, text: line\}`"):
        load_data(settings, base=tmp_path)
    named = settings.model_copy(update={"columns": Columns(image="scan", text="said")})
    assert load_data(named, base=tmp_path).spec.classes == ("<blank>", "a", "b")
