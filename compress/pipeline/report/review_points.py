"""The points for review of a run, the most important ones first: the first page shows only the first of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from compress.core.comparable_latency import is_same_network
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.run_record import RunRecord
from compress.core.sentences import render
from compress.core.sentences.names import stage_title
from compress.core.sentences.report import word
from compress.core.warned_check import check_of
from compress.pipeline.report.group_tables import group_points
from compress.pipeline.review.invalid_metrics import ANSWERS_NOT_TRAINED, NO_TEST, USELESS

INVALID_TEST = (
    *NO_TEST,
    "data.repeated_samples",
    "data.samples_differ",
    "data.equal_samples_in_loaders",
    "data.synthetic_evaluation",
)
"""Warnings because of which metrics on the test split are not what they seem."""
SHARED = "data.duplicates_between_splits"
FIRST, USELESS_NETWORK, MISSED, OTHER, LAST = range(5)
"""Ranks: metrics are not valid, the network has learned nothing, a bound is missed, anything else, no limit on the metric."""


class ReviewPoint(NamedTuple):
    """A point for review.

    Attributes:
        place: Stage or section that it is about.
        text: Sentence.
        rank: Importance, 0 for the most important.
    """

    place: str
    text: str
    rank: int = OTHER


def review_points(record: RunRecord) -> tuple[str, ...]:
    """Warnings of the run, each with its stage, and stages of the recipe that the record lacks, in the order of importance."""
    points = sorted(_points(record), key=lambda point: point.rank)
    return tuple(gettext("{place}: {text}", place=point.place, text=point.text) for point in points)


def missing_title(name: str) -> str:
    """Title of a stage without a record."""
    return gettext("{name}: {text}", name=name, text=word("stages.missing"))


def missing_stages(record: RunRecord) -> tuple[str, ...]:
    """Stages of the recipe without a record, as `3 · quantize`."""
    stages = record.recipe.get("stages")
    names = [next(iter(stage)) for stage in stages if isinstance(stage, dict) and stage] if isinstance(stages, list) else []
    recorded = {stage.index for stage in record.stages}
    return tuple(f"{index} · {name}" for index, name in enumerate(names, start=1) if index not in recorded)


def rank_of(warning: Fact) -> int:
    """Importance of a warning, 0 for the most important."""
    shares_test = warning.code == SHARED and warning.values.get("second") == "test"
    if shares_test or warning.code in INVALID_TEST:
        return FIRST
    if warning.code in USELESS:
        return USELESS_NETWORK
    if check_of(warning) is not None or warning.code in (SHARED, "pipeline.outputs_not_finite"):
        return MISSED
    return OTHER


def _points(record: RunRecord) -> Iterator[ReviewPoint]:
    for note in record.verdict.notes if record.verdict else ():
        yield ReviewPoint(gettext("verdict"), render(note), LAST)
    for text in group_points(record):
        yield ReviewPoint(gettext("Before and after"), text)
    for name in missing_stages(record):
        yield ReviewPoint(missing_title(name), word("stages.missing.text"), FIRST)
    for warning in record.warnings:
        yield ReviewPoint(gettext("start"), render(warning), rank_of(warning))
    for stage in record.every_stage:
        for warning in stage.warnings:
            if warning.code != ANSWERS_NOT_TRAINED or not _is_changed_after(record, stage.index):
                yield ReviewPoint(stage_title(stage), render(warning), rank_of(warning))


def _is_changed_after(record: RunRecord, index: int) -> bool:
    """Whether a later stage than this one changed the network, so that warnings on its answers are those of that stage."""
    return any(stage.index > index and not is_same_network(stage.before, stage.after) for stage in record.stages)
