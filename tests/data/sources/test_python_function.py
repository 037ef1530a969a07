import numpy as np
import pytest
import torch

from compress.core.errors import CompressError, DataError, TrustError
from compress.core.trusted_code import load_function
from compress.data.factory import load_data
from compress.data.settings import DataSettings

CODE = """
import torch
from helper import CLASSES
from PIL import Image

class Some(torch.utils.data.Dataset):
    def __init__(self, count, kind="tensor", shift=0):
        self.count, self.kind, self.shift = count, kind, shift
    def __len__(self):
        return self.count
    def __getitem__(self, index):
        value = 40 + 100 * (index % 2)
        if self.kind == "pillow":
            return Image.new("RGB", (12, 20), (value, value, value)), index % 2
        if self.kind == "float":
            return torch.rand(3, 12, 12), index % 2
        return torch.full((1, 12, 12), value, dtype=torch.uint8), index % 2 + self.shift

def make(settings):
    return Some(10), Some(4), Some(6), CLASSES

def pillow(settings):
    return Some(10, "pillow"), Some(4, "pillow"), Some(6, "pillow"), CLASSES

def floats(settings):
    return Some(10, "float"), Some(4), Some(6), CLASSES

def too_many(settings):
    return Some(10), Some(4), Some(6, shift=1), CLASSES

def empty(settings):
    return Some(10), Some(0), Some(6), CLASSES

def nothing(settings):
    return None

def whole(settings):
    from compress.data.factory import load_data
    from pathlib import Path
    return load_data(settings.model_copy(update={"source": "digits"}), base=Path())
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "helper.py").write_text("CLASSES = ['dark', 'bright']\n")
    return tmp_path


def read(folder, name, trust_code=True, **settings):
    return load_data(
        DataSettings(source=f"python:mine.py:{name}", image_size=16, **settings), base=folder, trust_code=trust_code
    )


@pytest.mark.parametrize("name", ["make", "pillow"])
def test_datasets_of_tensors_or_pillow_images_become_splits(folder, name):
    data = read(folder, name, augment="none")
    assert data.spec.classes == ("dark", "bright")
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 4, 6)
    batch = next(iter(data.train.ordered(10)))
    assert batch.input.shape == (10, 3, 16, 16)
    assert torch.equal(batch.input.mean((1, 2, 3)) > 0, batch.target == 1)


def test_a_ready_data_is_passed_on(folder):
    assert len(read(folder, "whole").train) == len(load_data(DataSettings(image_size=16), base=folder).train)


def test_limits_apply(folder):
    assert np.bincount(read(folder, "make", limit=4).train.labels).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("floats", r"train\[0\]: torch.float32"),
        ("too_many", r"test\[1\]: label 2, but there are 2 classes"),
        ("empty", "validation: no samples"),
        ("nothing", "returned NoneType; expected a Data"),
    ],
)
def test_what_a_function_must_not_return_is_refused(folder, name, said):
    with pytest.raises(DataError, match=said):
        read(folder, name)


def test_without_trust_nothing_runs(folder):
    (folder / "mine.py").write_text("open('ran', 'w')")
    with pytest.raises(TrustError, match="--trust-code"):
        read(folder, "make", trust_code=False)


def test_a_missing_file_is_named(folder):
    with pytest.raises(CompressError, match=r"no such file: .*other\.py"):
        load_function("other.py:make", folder, True)


def test_a_missing_function_is_answered_with_the_nearest(folder):
    with pytest.raises(CompressError, match="did you mean 'make'"):
        load_function("mine.py:mke", folder, True)


@pytest.mark.parametrize("reference", ["mine.py", "mine:make", "mine.py:", "mine.py:not a name"])
def test_another_form_is_refused(folder, reference):
    with pytest.raises(CompressError, match="write user code as python:FILE"):
        load_function(reference, folder, True)


def test_a_file_that_fails_says_why(folder):
    (folder / "mine.py").write_text("import no_such_thing")
    with pytest.raises(CompressError, match="no_such_thing"):
        load_function("mine.py:make", folder, True)


def test_an_edited_file_is_imported_anew(folder):
    (folder / "edit.py").write_text("def f(): return 1")
    assert load_function("edit.py:f", folder, True)() == 1
    (folder / "edit.py").write_text("def f(): return 2")
    assert load_function("edit.py:f", folder, True)() == 2
