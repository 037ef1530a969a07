"""Facts about splits that make their metrics wrong or undefined: shared and repeated samples, missing classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.data.batch import SPLITS
from compress.data.stratified import Indices

_NAMED = 5
COMPARED = 20_000
"""Largest number of samples whose contents are compared."""
REPEATED = 0.05
"""Largest fraction of copies in a split for which its samples count as independent."""


Sizes = Mapping[str, NDArray[np.int64]]
"""`Comparable.sizes` by name of the split."""


class Comparable(Protocol):
    """Samples that can be compared with those of another split."""

    def sizes(self) -> NDArray[np.int64]:
        """A number for each sample that is fast to compute and equal for equal samples, (N,)."""

    def contents(self, index: int) -> bytes:
        """Hash of a sample's contents."""

    def name(self, index: int) -> str:
        """Name of a sample in messages."""


def check_image_counts(counts: Sequence[int], source: str) -> None:
    """Refuse splits with too few images: training needs two, because of batch norm, validation and test one each.

    Args:
        counts: Images for training, validation and test.
        source: Name of the data in messages.

    Raises:
        DataError: A split has too few.
    """
    for name, count, least in zip(SPLITS, counts, (2, 1, 1), strict=True):
        if count < least:
            msg = gettext(
                "{source}: {count} {name} images, at least {least} needed; "
                "add images, raise `limit`, or change `validation` and `test`",
                source=source,
                count=count,
                name=name,
                least=least,
            )
            raise DataError(msg)


def refuse_unlabelled(labels: NDArray[np.int64] | NDArray[np.float64], split: str) -> None:
    """Refuse samples without a label in a split that metrics are computed on, where each would count as a wrong answer.

    Args:
        labels: Class of each sample, (N,); negative without a label.
        split: Name of the split in messages.

    Raises:
        DataError: There are such samples.
    """
    count = int((labels < 0).sum())
    if count:
        msg = gettext(
            "{count} of {samples} {split} samples have no label (a negative target): metrics cannot be computed on them; leave "
            "them out of the {split} split, and use them for training",
            count=count,
            samples=len(labels),
            split=split,
        )
        raise DataError(msg)


def find_copies(training: Comparable, validation: Comparable, test: Comparable) -> tuple[Fact, ...]:
    """Facts about samples that two splits share, and about copies within the splits that metrics are computed on."""
    judged = {"validation": validation, "test": test}
    splits = {"training": training, **judged}
    sizes = {name: split.sizes() for name, split in splits.items()}
    return (*find_duplicates(splits, sizes), *find_repeats(judged, sizes))


def find_duplicates(splits: Mapping[str, Comparable], sizes: Sizes | None = None) -> tuple[Fact, ...]:
    """Facts about samples with the same contents in two splits, for each pair of splits.

    Args:
        splits: By name; the first is that of training.
        sizes: Those of the samples, where they are known.
    """
    sizes = sizes or {name: split.sizes() for name, split in splits.items()}
    facts = []
    for first, second in combinations(splits, 2):
        shared = np.intersect1d(sizes[first], sizes[second])
        samples, others = (np.flatnonzero(np.isin(sizes[name], shared)) for name in (first, second))
        if len(samples) + len(others) > COMPARED:
            continue
        known = {splits[first].contents(int(index)) for index in samples}
        twice = [int(index) for index in others if splits[second].contents(int(index)) in known]
        if twice:
            example = splits[second].name(twice[0])
            facts.append(Fact.of("data.duplicates_between_splits", example, count=len(twice), first=first, second=second))
    return tuple(facts)


def find_repeats(splits: Mapping[str, Comparable], sizes: Sizes | None = None) -> tuple[Fact, ...]:
    """Facts about splits whose samples are more than `REPEATED` copies of others of the same split.

    Args:
        splits: Those that metrics are computed on, by name.
        sizes: Those of the samples, where they are known.
    """
    facts: list[Fact] = []
    for name, split in splits.items():
        numbers = sizes[name] if sizes else split.sizes()
        _, group, counts = np.unique(numbers, return_inverse=True, return_counts=True)
        alike = np.flatnonzero(counts[group] > 1)
        compared = alike[np.argsort(group[alike], kind="stable")][:COMPARED]
        known: dict[bytes, int] = {}
        copies = [int(index) for index in compared if known.setdefault(split.contents(int(index)), int(index)) != index]
        samples = len(numbers) - len(alike) + len(compared)
        facts += repeats(name, len(copies), samples, split.name(copies[0]) if copies else "")
    return tuple(facts)


def repeats(split: str, copies: int, samples: int, example: str = "") -> tuple[Fact, ...]:
    """The fact about copies in a split; none if they are few.

    Args:
        split: Name of the split.
        copies: Samples that are copies of others.
        samples: Compared samples.
        example: Name of a copy.
    """
    if copies <= REPEATED * samples:
        return ()
    distinct = samples - copies
    return (Fact.of("data.repeated_samples", example, split=split, count=copies, samples=samples, distinct=distinct),)


def find_missing_classes(labels: Mapping[str, Indices], classes: Sequence[str]) -> tuple[Fact, ...]:
    """Facts about classes without a sample, by split.

    Args:
        labels: Class of each sample, int64 (N,), by split; -100 without a label.
        classes: Names.
    """
    facts = []
    for split, values in labels.items():
        missing = [name for index, name in enumerate(classes) if index not in set(np.unique(values).tolist())]
        if missing:
            facts.append(Fact.of("data.classes_missing", ", ".join(missing[:_NAMED]), split=split, count=len(missing)))
    return tuple(facts)
