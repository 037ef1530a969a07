"""The metric of each class, and a warning for a class of which nothing is recognised, which a mean hides.

Light: numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.core.fact import Fact
from compress.core.format_quantity import quantity_label
from compress.core.language import gettext
from compress.core.record import Metric, Quantity
from compress.tasks.further_results import FurtherResults

LEAST_SAMPLES = 10
"""Test samples with a class from which it is warned of: fewer may all be missed by a network of use."""


class ClassValues(NamedTuple):
    """The metric of each of K classes on a split.

    Attributes:
        values: The metric of each class, (K,); NaN where the split has none of it.
        right: Correct pixels, labels or boxes of each class, (K,).
        samples: Samples that have the class, (K,).
    """

    values: NDArray[np.float64]
    right: NDArray[np.float64]
    samples: NDArray[np.int64]


def class_results(classes: Sequence[str], measured: ClassValues, metric: Metric, label: str, where: str) -> FurtherResults:
    """A table of the classes that the split has, and a warning for each class of which nothing is recognised.

    Args:
        classes: K names; results of fewer than two classes are those of the metric.
        measured: Their metric.
        metric: Description of the metric, of which that of one class has unit and direction.
        label: Name of the metric of one class, a column of the table.
        where: What was measured on what.
    """
    if len(classes) < 2:
        return FurtherResults()
    rows, warnings = [], []
    for name, value, right, samples in zip(classes, *measured, strict=True):
        if not samples:
            continue
        quantity = Quantity.missing(
            metric.unit, gettext("{where}: the class has no {label}", where=where, label=quantity_label(label))
        )
        if np.isfinite(value):
            quantity = Quantity.measured(
                float(value), metric.unit, gettext("{where}; without an interval", where=where), runs=int(samples)
            )
        rows.append({"class": name, "samples": int(samples), label: quantity.model_dump(mode="json")})
        if not right and samples >= LEAST_SAMPLES:
            warnings.append(Fact.of("tasks.class_not_recognised", name, metric=metric.label, samples=int(samples)))
    return FurtherResults(tables={"classes": tuple(rows)}, warnings=tuple(warnings))
