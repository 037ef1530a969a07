"""Outline of a report: its content in order, which the Markdown and HTML writers render.

A section is a function of the record and its pictures, and a row of the registry's family `report_section`, in the order of the
report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compress.core.fact import Fact
from compress.core.format_quantity import format_duration
from compress.core.language import gettext, ngettext
from compress.core.network_spec import NetworkSpec
from compress.core.record import Metric
from compress.core.registry import lookup, names
from compress.core.run_record import RunRecord
from compress.core.sentences import render
from compress.core.sentences.limits import limit_words
from compress.core.verdict import RESULTS_FROM_WORST, Result, Verdict
from compress.pipeline.report.table import Table
from compress.tasks.classification import ACCURACY

if TYPE_CHECKING:
    from compress.pipeline.report.figures.figure_file import FigureFile

SMOKE = "smoke run (--smoke): its numbers are not valid results"
NOT_JUDGED = "A smoke run (--smoke) does not check its budget. Run the recipe without --smoke for a verdict."
SHOWN_NAMES = 5
State = Literal[Result, "unproven", "not judged", "no budget"]
"""State of the verdict of a whole run; unproven where limits are kept by value, and the budget asks for whole intervals."""
STATES: Mapping[State, str] = {
    "met": "met",
    "not shown": "met, not shown",
    "unproven": "not shown",
    "missed": "missed",
    "not judged": "not judged",
    "no budget": "no budget",
}
"""Words of the states."""


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Attributes:
        title: Heading.
        level: Level of the heading, 2 or 3.
        area: Part of the first page that it is; empty for a section behind it.
        paragraphs: Sentences.
        items: A list, after the paragraphs.
        tables: Tables, after the list.
        pictures: Pictures, after the tables.
        code: Titled texts to show as they are.
    """

    title: str
    level: int = 2
    area: str = ""
    paragraphs: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[FigureFile, ...] = ()
    code: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Outline:
    """A whole report.

    Attributes:
        title: Name of the run.
        facts: One line with date, duration and data.
        state: State of the verdict.
        verdict: Its words.
        headline: The verdict in a sentence.
        front: The first page, which decides.
        sections: Everything behind it, in order.
    """

    title: str
    facts: tuple[str, ...]
    state: State
    verdict: str
    headline: str
    front: tuple[Section, ...]
    sections: tuple[Section, ...]


Pictures = Mapping[str, tuple["FigureFile", ...]]
"""Pictures by the section that shows them, see `FigureFile.section`."""
SectionBuilder = Callable[[RunRecord, Pictures], Iterator[Section]]


def deciding_metric(record: RunRecord) -> Metric:
    """The deciding metric; records without it are of classification."""
    return record.metric or ACCURACY


def sentence_start(label: str) -> str:
    """A label with a capital letter, for the start of a sentence; labels such as mAP50 are not changed."""
    return label[:1].upper() + label[1:] if label == label.lower() else label


def metric_of(record: RunRecord, name: str) -> Metric:
    """The metric of a quantity, by its name; the deciding metric for other quantities."""
    metrics = (deciding_metric(record), *record.further_metrics)
    own = [metric for metric in metrics if name == metric.name or name.startswith(f"{metric.name}_")]
    return max(own, key=lambda metric: len(metric.name), default=metrics[0])


def describe_inputs(spec: NetworkSpec) -> str:
    """The size of a sample if there is one input of a fixed size, else all inputs with their axes."""
    inputs = spec.signature.inputs
    shape = inputs[0].sample_shape
    if len(inputs) == 1 and all(isinstance(size, int) for size in shape):
        return gettext("input {shape}", shape="×".join(map(str, shape)))
    return gettext("inputs {inputs}", inputs=", ".join(map(str, inputs)))


def describe_names(spec: NetworkSpec) -> tuple[str, ...]:
    """How many classes there are, or the names of outputs that are no logits."""
    if not spec.classes:
        return ()
    if any("logits" in output.name for output in spec.signature.outputs):
        return (ngettext("{number} class", "{number} classes", len(spec.classes)),)
    names, more = ", ".join(spec.classes[:SHOWN_NAMES]), len(spec.classes) - SHOWN_NAMES
    if more > 0:
        return (gettext("outputs {names} and {more} more", names=names, more=more),)
    return (gettext("outputs {names}", names=names),)


def build_outline(record: RunRecord, pictures: Sequence[FigureFile]) -> Outline:
    """The outline of the report of a record."""
    state, headline = _verdict(record)
    facts = (
        *((gettext(SMOKE),) if record.smoke else ()),
        gettext("data: {source}", source=record.data.get("source") or gettext("unknown")),
        *describe_names(record.spec),
        describe_inputs(record.spec),
        gettext("started {time}", time=record.started),
        gettext("took {time}", time=format_duration(record.wall_time_s)),
    )
    by_section = {name: tuple(p for p in pictures if p.section == name) for name in {p.section for p in pictures}}
    builders: list[SectionBuilder] = [lookup("report_section", name).load() for name in names("report_section")]
    sections = tuple(section for build in builders for section in build(record, by_section))
    front: list[SectionBuilder] = [lookup("report_front", name).load() for name in names("report_front")]
    first = tuple(section for build in front for section in build(record, by_section))
    return Outline(record.name, facts, state, gettext(STATES[state]), headline, first, sections)


def is_budget_skipped(record: RunRecord) -> bool:
    """Whether the recipe has a budget that the smoke run did not check."""
    return record.smoke and bool(record.verdict or record.recipe.get("budget"))


def _verdict(record: RunRecord) -> tuple[State, str]:
    if is_budget_skipped(record):
        return "not judged", gettext(NOT_JUDGED)
    if record.verdict is None:
        return "no budget", gettext("The recipe has no budget, so there is no verdict.")
    state, sentence = _checks(record.verdict)
    return state, " ".join((sentence, *map(sentence_of, record.verdict.notes)))


def sentence_of(fact: Fact) -> str:
    """A fact as a sentence of its own."""
    text = render(fact)
    return gettext("{sentence}.", sentence=f"{text[:1].upper()}{text[1:]}")


def _checks(verdict: Verdict) -> tuple[State, str]:
    total = len(verdict.checks)
    names = {
        result: [limit_words(check) for check in verdict.checks if check.result == result] for result in RESULTS_FROM_WORST
    }
    if missed := names["missed"]:
        listed = gettext(", ").join(missed)
        return "missed", gettext("{count} of {total} limits missed: {names}.", count=len(missed), total=total, names=listed)
    if not (unsure := names["not shown"]):
        return "met", gettext("All {total} limits are met.", total=total) if total > 1 else gettext("The one limit is met.")
    values = {"total": total, "count": len(unsure), "names": gettext(", ").join(unsure)}
    if verdict.passed:
        return "not shown", gettext(
            "All values are within their limits, but {count} of {total} limits are not shown to be met: {names} (an estimate, "
            "no interval, or an interval that reaches across the limit).",
            **values,
        )
    return "unproven", gettext(
        "All values are within their limits, but the budget asks for the whole interval, and {count} of {total} limits are not "
        "shown to be met: {names} (an estimate, no interval, or an interval that reaches across the limit).",
        **values,
    )
