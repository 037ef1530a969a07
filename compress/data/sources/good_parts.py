"""Folders with good parts alone in `train`, as in MVTec AD (Bergmann et al. 2019): common classes, and defects for validation.

train/good/…    test/good/…    test/DEFECT/…
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compress.data.sources.folder_listing import FolderListing
from compress.data.stratified import Indices, stratified_hold_out

FileSelection = tuple[FolderListing, Indices]
"""A listing and the indices of the files of a split."""


def share_classes(listings: Mapping[str, FolderListing]) -> dict[str, FolderListing]:
    """The listings with the classes of all splits, if `train` has one class, which the other splits have besides further ones.

    So are good and defective parts laid out for anomaly detection. Other listings are returned as they are.
    """
    train = listings.get("train")
    if train is None or len(train.classes) != 1 or any(train.classes[0] not in other.classes for other in listings.values()):
        return dict(listings)
    classes = tuple(sorted({name for listing in listings.values() for name in listing.classes}))
    return {
        split: FolderListing(classes, each.files, tuple(classes.index(each.classes[label]) for label in each.labels))
        for split, each in listings.items()
    }


def hold_out_defects(
    validation: FileSelection, test: FileSelection, fraction: float, seed: int
) -> tuple[FileSelection, FileSelection]:
    """Validation with a fraction of each class of test that it lacks, and the rest of test.

    Without defective parts, validation can choose neither the best epoch nor the best of several networks.

    Args:
        validation: Of listings with the same classes as test.
        test: Of another listing.
        fraction: Of each class to hold out, in (0, 1); at least one part, and at most all but one.
        seed: Of the choice.

    Returns:
        Validation and test.
    """
    (listing, indices), (other, tested) = validation, test
    labels = np.asarray(other.labels, dtype=np.int64)[tested]
    missing = ~np.isin(labels, np.asarray(listing.labels, dtype=np.int64)[indices])
    candidates = tested[missing]
    _, chosen = stratified_hold_out(labels[missing], fraction, seed)
    held = candidates[chosen]
    files = [*(listing.files[index] for index in indices), *(other.files[index] for index in held)]
    classes = [*(listing.labels[index] for index in indices), *(other.labels[index] for index in held)]
    joined = FolderListing(listing.classes, tuple(files), tuple(classes))
    return (joined, np.arange(len(files), dtype=np.int64)), (other, np.setdiff1d(tested, held))
