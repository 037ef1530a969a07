"""Splits of a folder of arrays that do not belong together are refused, with what was given and what is allowed."""

import numpy as np
import pytest

from compress.core.errors import DataError
from compress.data.factory import load_data
from compress.data.settings import DataSettings

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 8)).astype(np.float32), np.arange(40) % 2


def load(folder, **test):
    for shift, name in enumerate(("train", "validation")):
        np.savez(folder / f"{name}.npz", x=X + shift, target=Y, classes=["cat", "dog"])
    np.savez(folder / "test.npz", **{"x": X + 2, "target": Y, "classes": ["cat", "dog"]} | test)
    return load_data(DataSettings(source="npz:."), base=folder)


def test_splits_that_belong_together_have_no_warning(tmp_path):
    data = load(tmp_path)
    assert data.spec.classes == ("cat", "dog")
    assert data.warnings == ()


def test_equal_samples_of_two_splits_are_a_warning(tmp_path):
    (fact,) = load(tmp_path, x=np.concatenate([X[:10], X[10:] + 2])).warnings
    assert fact.code == "data.duplicates_between_splits"
    assert (fact.values["count"], fact.values["first"], fact.values["second"]) == (10, "training", "test")


def test_a_class_without_a_test_sample_is_a_warning(tmp_path):
    (fact,) = load(tmp_path, target=0 * Y).warnings
    assert (fact.code, fact.subject) == ("data.classes_missing", "dog")


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ({"classes": ["dog", "cat"]}, "of the test split are dog, cat, those of the train split cat, dog; .* the same list"),
        ({"classes": ["cat", "dog", "eel"]}, "of the test split are cat, dog, eel"),
        (
            {"target": np.arange(40) % 3},
            "13 targets of the test split are no class, up to 2; .* 2 classes, so targets are 0 to 1",
        ),
        (
            {"target": Y.astype(np.float32)},
            r"the test split are real numbers \(N, 1\), those of the train split integers \(N,\)",
        ),
        ({"x": X[:, :4]}, "the test split has other inputs .*x: float32 N×4, not x: float32 N×8"),
        ({"x": X.astype(np.int64)}, "the test split has other inputs .*x: int64 N×8"),
        ({"w": X}, "the test split has other inputs .*w: float32 N×8.*; give the arrays x"),
    ],
)
def test_a_split_of_another_kind_is_refused(test, message, tmp_path):
    with pytest.raises(DataError, match=message):
        load(tmp_path, **test)


def test_one_split_may_list_the_classes_of_all(tmp_path):
    data = load(tmp_path, classes=["cat", "dog"])
    assert data.spec.classes == ("cat", "dog")
    with np.load(tmp_path / "train.npz") as file:
        np.savez(tmp_path / "train.npz", x=file["x"], target=file["target"])
    assert load_data(DataSettings(source="npz:."), base=tmp_path).spec.classes == ("cat", "dog")
