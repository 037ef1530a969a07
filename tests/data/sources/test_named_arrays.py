"""`npz:`: named arrays, with and without targets, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.core.errors import DataError
from compress.core.sentences import render
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.named_arrays import load


def read(folder: Path, **arrays: Any) -> Data:
    np.savez(folder / "a.npz", **arrays)
    return load(DataSettings(source="npz:a.npz"), DataSource("npz", "a.npz", folder))


def test_inputs_have_the_names_and_types_of_the_arrays(tmp_path: Path) -> None:
    data = read(tmp_path, image=np.ones((10, 3, 4), np.float32), ids=np.ones((10, 5), np.int64))
    assert [(spec.name, spec.dtype, spec.shape) for spec in data.spec.signature.inputs] == [
        ("image", "float32", ("batch", 3, 4)),
        ("ids", "int64", ("batch", 5)),
    ]
    assert len(data.train) + len(data.validation) + len(data.test) == 10
    assert data.spec.classes == ()


def test_labels_are_targets_and_their_numbers_classes(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float32)[:, None]
    data = read(tmp_path, x=x, labels=np.arange(12) % 3)
    batch = next(iter(data.train.ordered(20)))
    assert (batch.input[:, 0] % 3).tolist() == batch.target.tolist()
    assert data.spec.classes == ("0", "1", "2")


def test_two_samples_are_in_all_splits_with_a_warning(tmp_path: Path) -> None:
    data = read(tmp_path, x=np.ones((2, 3), np.float32))
    assert "2 samples are too few to split" in render(data.warnings[0])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.ones((3, 1)), "b": np.ones((4, 1))}, "different numbers of samples, or none .a: 3, b: 4."),
        ({"a": np.ones((0, 1))}, "different numbers of samples, or none .a: 0."),
        ({"a": np.array("text")}, "the samples along the first axis"),
        ({"labels": np.ones(3)}, "holds targets alone"),
        ({"a": np.array([{"x": 1}], dtype=object)}, "not a NumPy archive of plain arrays"),
        ({}, "holds no named arrays"),
    ],
)
def test_other_archives_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, **arrays)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("no archive")
    for name, message in (("a.npz", "not a NumPy archive"), ("b.npz", "cannot read")):
        with pytest.raises(DataError, match=message):
            load(DataSettings(source=f"npz:{name}"), DataSource("npz", name, tmp_path))
