"""What trackers get, from records: parameters, training curves, final metrics."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from compress.core.record import Quantity, StageRecord
from compress.core.run_record import RunRecord
from compress.pipeline.card.contents import artifact_rows
from compress.pipeline.report.tables import final_metrics
from compress.pipeline.review.compare_runs import flatten_settings


class Point(NamedTuple):
    """A value of a curve.

    Attributes:
        name: Name of the curve.
        step: Position, such as the epoch.
        value: The value.
    """

    name: str
    step: int
    value: float


def parameters(recipe: Mapping[str, object]) -> dict[str, str]:
    """Every value of a resolved recipe as text, by its path: `stages.0.distill.epochs`."""
    return {
        re.sub(r"\[(\d+)\]", r".\1", path): value if isinstance(value, str) else json.dumps(value)
        for path, value in flatten_settings(recipe)
    }


def curve_points(stage: StageRecord) -> Iterator[Point]:
    """Points of all curves of a stage; a curve over other positions than whole numbers has the index as step."""
    for name, curve in stage.curves.items():
        is_whole = all(x.is_integer() for x in curve.x)
        for index, (x, y) in enumerate(zip(curve.x, curve.y, strict=True)):
            if y is not None:
                yield Point(name, int(x) if is_whole else index, y)


def final_values(record: RunRecord) -> dict[str, float]:
    """Metrics of the artifact, and its latency, memory, power and energy on every device as `device/NAME/QUANTITY`.

    The ends of intervals and bands have the suffixes `_low` and `_high`. The names of estimates end in `_estimated`, so that
    nobody takes them for measurements. Quantities without a value are left out.
    """
    values: dict[str, float] = {}
    for name, quantity in final_metrics(record).items():
        values |= _with_ends(name, quantity)
    rows = artifact_rows(record)
    files = Counter(row.device for row in rows)
    for row in rows:
        place = f"device/{row.device}" + (f"/{row.file}" if files[row.device] > 1 and row.file else "")
        for name, quantity in row.quantities.items():
            values |= _with_ends(f"{place}/{name}", quantity)
    return values


def _with_ends(name: str, quantity: Quantity) -> dict[str, float]:
    kind = "_estimated" if quantity.how == "estimated" else ""
    ends = {"": quantity.value, "_low": quantity.low, "_high": quantity.high}
    return {f"{name}{end}{kind}": value for end, value in ends.items() if value is not None and quantity.value is not None}


def stage_label(stage: StageRecord) -> str:
    """Position and name, as that of the folder of the stage: `01-distill`."""
    return f"{stage.index:02d}-{stage.name}"
