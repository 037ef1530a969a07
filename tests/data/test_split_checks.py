import numpy as np
import pytest
import torch

from compress.core.errors import DataError
from compress.core.sentences import render
from compress.data import split_checks
from compress.data.image_split import ImageArrays
from compress.data.split_checks import find_duplicates, find_missing_classes, find_repeats, refuse_unlabelled


def arrays(images):
    return ImageArrays(images, np.zeros(len(images), dtype=np.int64))


@pytest.fixture
def images():
    return torch.randint(0, 256, (40, 3, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_equal_samples_of_two_splits_are_counted(images):
    splits = {"training": arrays(images[:20]), "validation": arrays(images[20:30]), "test": arrays(images[[35, 3, 36, 7, 25]])}
    first, second = find_duplicates(splits)
    assert render(first).startswith("2 samples of the test split are also in the training split (for example number 1)")
    assert render(second).startswith("1 samples of the test split are also in the validation split (for example number 4)")


def test_samples_of_equal_size_are_no_duplicates(images):
    assert find_duplicates({"training": arrays(images[:20]), "test": arrays(images[:20].flip(-1))}) == ()
    assert find_duplicates({"training": arrays(images[:20]), "test": arrays(images[20:])}) == ()


def test_large_splits_are_not_read(images, monkeypatch):
    monkeypatch.setattr(split_checks, "COMPARED", 10)
    assert find_duplicates({"training": arrays(images[:20]), "test": arrays(images[:20])}) == ()


def test_classes_without_samples_are_named():
    labels = {"validation": np.array([0, 2, 2]), "test": np.array([0, 1, 2])}
    (fact,) = find_missing_classes(labels, ["a", "b", "c"])
    assert render(fact) == "1 classes have no sample in the validation split (b), so its metrics do not include them"


def test_samples_without_a_label_are_counted_and_refused():
    refuse_unlabelled(np.array([0, 1]), "test")
    with pytest.raises(DataError, match=r"^2 of 4 test samples have no label .* leave them out of the test split"):
        refuse_unlabelled(np.array([0, -1, 3, -100]), "test")


def test_copies_within_a_split_are_counted_where_they_are_many(images):
    assert find_repeats({"test": arrays(images)}) == ()
    assert find_repeats({"test": arrays(images[[*range(40), 7]])}) == ()  # 1 of 41
    (fact,) = find_repeats({"validation": arrays(images), "test": arrays(images[:10].repeat(6, 1, 1, 1))})
    assert (fact.values["split"], fact.values["count"], fact.values["samples"], fact.values["distinct"]) == ("test", 50, 60, 10)
    assert render(fact).startswith("50 of 60 compared samples of the test split are copies of others, so only 10 are different")


def test_a_bounded_number_of_samples_is_compared(images, monkeypatch):
    monkeypatch.setattr(split_checks, "COMPARED", 12)
    split = arrays(images[:10].repeat(6, 1, 1, 1))
    (fact,) = find_repeats({"test": split})
    assert (fact.values["count"], fact.values["samples"]) == (10, 12)
