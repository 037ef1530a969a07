# ruff: noqa: ARG005 - makers with different needs are called alike

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from compress.core.errors import DataError, MissingPackageError, TrustError
from compress.distill.stage import Distill
from compress.distill.teachers.external import FileSoftLabels, sample_fingerprint, write_soft_labels
from compress.distill.teachers.settings import (
    FunctionTeacher,
)
from tests.distill.teachers.runs import CLASSES, QUICK, batch_of, candidate, probabilities
from tests.train.toy_training import ToySplit


def test_soft_labels_are_read_for_the_samples_of_a_batch(tmp_path):
    split = ToySplit(48, 1)
    soft = probabilities(split)
    write_soft_labels(tmp_path / "a.safetensors", soft, split, CLASSES)
    teacher, batch = FileSoftLabels(tmp_path / "a.safetensors", split, CLASSES), batch_of(split)
    torch.testing.assert_close(teacher.logits(batch).softmax(1), soft[batch.samples])
    with pytest.raises(DataError, match="does not number them"):
        teacher.logits(batch._replace(samples=None))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda path, split: write_soft_labels(path, probabilities(ToySplit(30, 1)), ToySplit(30, 1), CLASSES),
            r"30×3, needed 48 samples × 3",
        ),
        (lambda path, split: write_soft_labels(path, probabilities(split), ToySplit(48, 9), CLASSES), r"made for other data"),
        (
            lambda path, split: write_soft_labels(path, probabilities(split), split, ("green", "red", "blue")),
            r"in another order",
        ),
        (lambda path, split: path.write_bytes(b"nothing"), r"holds no soft labels named 'probabilities'"),
        (lambda path, split: None, r"no soft labels at .*write_soft_labels"),
    ],
)
@pytest.mark.parametrize("kind", ["safetensors", "parquet"])
def test_a_file_of_other_length_data_classes_or_none_is_refused(tmp_path, make, message, kind):
    split, path = ToySplit(48, 1), tmp_path / f"a.{kind}"
    make(path, split)
    with pytest.raises(DataError, match=message):
        FileSoftLabels(path, split, CLASSES)


@pytest.mark.parametrize("classes", ["[", "3", "null", ""])
def test_class_names_that_are_no_list_are_refused(tmp_path, classes):
    split, path = ToySplit(48, 1), tmp_path / "a.safetensors"
    about = {"contents": sample_fingerprint(split), "classes": classes}
    save_file({"probabilities": probabilities(split)}, path, metadata=about)
    with pytest.raises(DataError, match="names other classes"):
        FileSoftLabels(path, split, CLASSES)


def test_rows_that_are_no_probabilities_are_not_written(tmp_path):
    split = ToySplit(48, 1)
    wrong = probabilities(split)
    wrong[3] *= 2
    with pytest.raises(DataError, match=r"row 3 holds no probabilities \(its sum is 2\)"):
        write_soft_labels(tmp_path / "a.safetensors", wrong, split, CLASSES)


def test_parquet_without_its_package_gives_the_install_line(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"compress\[parquet\]"):
        write_soft_labels(tmp_path / "a.parquet", probabilities(ToySplit(48, 1)), ToySplit(48, 1), CLASSES)


def test_parquet_holds_the_same(tmp_path):
    split = ToySplit(48, 1)
    soft = probabilities(split)
    write_soft_labels(tmp_path / "a.parquet", soft, split, CLASSES)
    teacher, batch = FileSoftLabels(tmp_path / "a.parquet", split, CLASSES), batch_of(split)
    torch.testing.assert_close(teacher.logits(batch), soft[batch.samples].log())
    write_soft_labels(tmp_path / "a.safetensors", soft, split, CLASSES)
    assert torch.equal(teacher.logits(batch), FileSoftLabels(tmp_path / "a.safetensors", split, CLASSES).logits(batch))


def test_parquet_with_lists_of_any_kind_in_several_groups_is_read(tmp_path):
    import pyarrow
    import pyarrow.parquet

    split, path = ToySplit(48, 1), tmp_path / "a.parquet"
    soft = probabilities(split)
    write_soft_labels(path, soft, split, CLASSES)
    about = pyarrow.parquet.read_schema(path).metadata
    rows = pyarrow.array(soft.double().tolist(), pyarrow.list_(pyarrow.float64()))
    table = pyarrow.table({"probabilities": rows}).replace_schema_metadata(about)
    pyarrow.parquet.write_table(table, path, row_group_size=20)
    batch = batch_of(split)
    torch.testing.assert_close(FileSoftLabels(path, split, CLASSES).logits(batch), soft[batch.samples].log())


@pytest.mark.parametrize(
    ("column", "rows"),
    [
        ("answers", [[0.5, 0.5, 0.0]] * 48),
        ("probabilities", [0.5] * 48),
        ("probabilities", ["red"] * 48),
        ("probabilities", [["a", "b", "c"]] * 48),
        ("probabilities", [[0.5, 0.5, 0.0]] * 47 + [[1.0]]),
        ("probabilities", None),
    ],
)
def test_parquet_that_holds_no_table_of_numbers_is_refused(tmp_path, column, rows):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    if rows is None:
        path.write_bytes(b"PAR1 and no more")
    else:
        pyarrow.parquet.write_table(pyarrow.table({column: rows}), path)
    with pytest.raises(DataError, match="holds no soft labels named 'probabilities'"):
        FileSoftLabels(path, ToySplit(48, 1), CLASSES)


ORACLE = """
import numpy as np

def brightest(images):
    means = images.numpy().mean((2, 3))
    return np.exp(means) / np.exp(means).sum(1, keepdims=True)

def wrong(images):
    return np.ones((len(images), 2)) / 2
"""


def test_a_trusted_function_teaches(context):
    (context.base / "mine.py").write_text(ORACLE)
    stage = Distill(**QUICK, teacher=FunctionTeacher(function="python:mine.py:brightest"))
    with pytest.raises(TrustError, match="--trust-code"):
        stage.run(candidate(), context)
    trusted = replace(context, trust_code=True)
    outcome = stage.run(candidate(), trusted)
    assert len(list(context.cache.glob("logits-*/*.npy"))) == 2
    assert outcome.curves["loss"].y[-1] < outcome.curves["loss"].y[0]
    with pytest.raises(DataError, match=r"wrong: soft labels of shape 48×2, needed 48 samples × 3 classes"):
        Distill(**QUICK, teacher=FunctionTeacher(function="python:mine.py:wrong")).run(candidate(), trusted)


@pytest.mark.parametrize("classes", ["[" * 100_000, "{}", "3", "null"])
def test_metadata_that_name_no_classes_are_refused(tmp_path, classes):
    split = ToySplit(48, 1)
    metadata = {"contents": sample_fingerprint(split), "classes": classes}
    save_file({"probabilities": probabilities(split)}, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(DataError, match="other classes"):
        FileSoftLabels(tmp_path / "a.safetensors", split, CLASSES)


def test_parquet_with_metadata_that_are_no_text_is_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    path, split = tmp_path / "a.parquet", ToySplit(48, 1)
    table = pyarrow.table({"probabilities": probabilities(split).tolist()}).replace_schema_metadata({"classes": b"\xff\xfe"})
    pyarrow.parquet.write_table(table, path)
    with pytest.raises(DataError, match="holds no soft labels"):
        FileSoftLabels(path, split, CLASSES)
