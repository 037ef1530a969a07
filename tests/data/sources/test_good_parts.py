"""Listings of good parts alone in `train`."""

from pathlib import Path

import numpy as np

from compress.data.sources.folder_listing import FolderListing
from compress.data.sources.good_parts import hold_out_defects, share_classes


def listing(**counts: int) -> FolderListing:
    names = [name for name, count in counts.items() for _ in range(count)]
    files = tuple(Path(f"{name}/{index}") for index, name in enumerate(names))
    return FolderListing(tuple(counts), files, tuple([*counts].index(name) for name in names))


def names_of(each: FolderListing) -> list[str]:
    return [each.classes[label] for label in each.labels]


def test_classes_are_shared_where_train_has_one_of_them() -> None:
    given = {"train": listing(good=3), "test": listing(crack=2, good=1), "val": listing(good=2, stain=1)}
    shared = share_classes(given)
    assert {each.classes for each in shared.values()} == {("crack", "good", "stain")}
    assert all(names_of(shared[split]) == names_of(given[split]) for split in given)
    assert all(shared[split].files == given[split].files for split in given)


def test_other_listings_are_left_as_they_are() -> None:
    for given in (
        {"train": listing(a=1, b=1), "test": listing(a=1, b=1, c=1)},
        {"train": listing(good=2), "test": listing(crack=2)},
        {"all": listing(good=2)},
    ):
        assert share_classes(given) == given


def test_a_fraction_of_each_defect_moves_to_validation() -> None:
    shared = share_classes({"train": listing(good=6), "test": listing(crack=8, good=5, stain=2)})
    test = shared["test"]
    (validation, indices), (rest, left) = hold_out_defects((shared["train"], np.array([1, 4])), (test, np.arange(15)), 0.25, 0)
    assert names_of(validation) == ["good"] * 2 + ["crack"] * 2 + ["stain"]
    assert indices.tolist() == [*range(5)]
    assert [names_of(rest)[index] for index in left] == ["crack"] * 6 + ["good"] * 5 + ["stain"]
    assert {*validation.files} == {shared["train"].files[1], shared["train"].files[4]} | {*test.files} - {
        test.files[index] for index in left
    }
