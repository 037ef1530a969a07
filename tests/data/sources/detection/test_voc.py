"""Pascal VOC's XML."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.errors import DataError
from compress.data.detection_targets import CLASSES
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.detection.voc import load, read_voc

TEMPLATE = """<annotation><folder>x</folder><filename>{name}</filename><size><width>40</width><height>30</height></size>
<object><name>{label}</name><part><name>no</name><bndbox><xmin>0</xmin></bndbox></part>
<bndbox><xmin>{x}</xmin><ymin>3</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object></annotation>"""


def annotate(images: list[Path], **changes: str) -> None:
    for index, file in enumerate(images):
        values = {"name": file.name, "label": ("tree", "bush")[index % 2], "x": "2"} | (changes if index == 3 else {})
        file.with_suffix(".xml").write_text(TEMPLATE.format(**values))


def test_files_are_read_and_split(tmp_path: Path, images: list[Path], settings: DataSettings) -> None:
    annotate(images)
    data = load(settings, DataSource("voc", ".", tmp_path))
    assert data.spec.classes == ("bush", "tree")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [6, 2, 2]
    assert read_voc(images[0].with_suffix(".xml")).boxes == ((2.0, 3.0, 30.0, 20.0),)


def test_split_lists_and_class_lists_are_used(tmp_path: Path, images: list[Path], settings: DataSettings) -> None:
    annotate(images)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n2\n3\n")
    (lists / "val.txt").write_text("4 1\n5 -1\n")
    (lists / "test.txt").write_text("6\n")
    (tmp_path / "classes.txt").write_text("tree\nbush\nrock\n")
    data = load(settings, DataSource("voc", ".", tmp_path))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [4, 2, 1]
    assert next(iter(data.train.ordered(4))).targets[CLASSES][:, 0].tolist() == [0, 1, 0, 1]
    (lists / "test.txt").write_text("66\n")
    with pytest.raises(DataError, match="lists '66'"):
        load(settings, DataSource("voc", ".", tmp_path))


def test_an_unknown_class_is_named(tmp_path: Path, images: list[Path], settings: DataSettings) -> None:
    annotate(images, label="tee")
    (tmp_path / "classes.txt").write_text("tree\nbush\n")
    with pytest.raises(DataError, match=r"3\.xml names the class 'tee'.*tree"):
        load(settings, DataSource("voc", ".", tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "is not XML"),
        ("", "is not XML"),
        ("<annotation><filename>0.png</filename></annotation>", "is not of Pascal VOC"),
        (TEMPLATE.format(name="0.png", label="a", x="wide"), "is not of Pascal VOC"),
        ('<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation>&e;</annotation>', "declares a document type"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "0.xml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_voc(tmp_path / "0.xml")


def test_a_path_in_a_file_name_does_not_leave_the_folder(tmp_path: Path, images: list[Path]) -> None:
    annotate(images, name="../../../etc/passwd")
    assert read_voc(images[3].with_suffix(".xml")).image == "passwd"


def test_folders_without_annotations_are_refused(tmp_path: Path, settings: DataSettings) -> None:
    with pytest.raises(DataError, match="holds no XML"):
        load(settings, DataSource("voc", ".", tmp_path))
    with pytest.raises(DataError, match="no folder"):
        load(settings, DataSource("voc", "none", tmp_path))
