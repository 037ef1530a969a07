"""What a report says and in which order: one outline, which the Markdown and the HTML writer both render."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from compress.core.format_quantity import format_duration, format_with_provenance
from compress.core.record import RunRecord, StageRecord
from compress.core.sentences import render
from compress.pipeline.report import tables
from compress.pipeline.report.table import Table

if TYPE_CHECKING:
    from compress.core.plot_style import Picture

HOW = (
    "Every number of this report carries a sign. ● measured: an instrument or a count gave it, in this run, at the place that "
    "the note below its table names; n is the number of samples or runs behind it. ◐ estimated: a model predicts it, with the "
    "band that the model's known error gives; nothing ran there. ○ not measured: nobody knows it, and the note says why.",
    "Ranges behind a value are 95 % intervals (measured) or error bands (estimated). Accuracies have Wilson score intervals; "
    "a difference of two accuracies on the same samples has the paired interval of Agresti and Min; percentiles of latency "
    "have order-statistic intervals, which hold for any distribution.",
    "Accuracy is measured on the test split, which no decision of the run looked at; decisions were taken on the validation "
    "split. MB are 10⁶ bytes. ÷ 4 reads “four times less”; changes of accuracy are in percentage points.",
    "A limit that could not be measured does not pass. An estimate is judged on its value, and the verdict says that it is "
    "one. Plain numbers in a stage's own tables are its working record: settings, counts, and what it saw on training or "
    "validation data.",
)


TOY = "toy size (--smoke): the figures mean nothing"


@dataclass(frozen=True)
class Section:
    """A part of the report under its own heading.

    Attributes:
        title: Heading.
        level: 2 for a part, 3 for a part of a part.
        paragraphs: Sentences.
        items: A list, after the paragraphs.
        tables: Tables, after the list.
        pictures: Pictures, after the tables.
        code: Titled texts to show as they are.
    """

    title: str
    level: int = 2
    paragraphs: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    code: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Outline:
    """A whole report.

    Attributes:
        title: The run's name.
        facts: One line of what, when and how long.
        verdict: `passed`, `missed`, or `no budget`.
        headline: The verdict in a sentence.
        sections: In order.
    """

    title: str
    facts: tuple[str, ...]
    verdict: str
    headline: str
    sections: tuple[Section, ...]


def outline(record: RunRecord, pictures: Sequence[Picture]) -> Outline:
    """Lay a record out as a report."""
    shape = "×".join(map(str, record.spec.shape))
    source = record.data.get("source", "unknown data")
    verdict, headline = _verdict(record)
    facts = (
        *((TOY,) if record.smoke else ()),
        f"data: {source}",
        f"{len(record.spec.classes)} classes",
        f"input {shape}",
        f"started {record.started}",
        f"took {format_duration(record.wall_time_s)}",
    )
    placed = {place: tuple(p for p in pictures if p.place == place) for place in {p.place for p in pictures}}
    return Outline(record.name, facts, verdict, headline, tuple(_sections(record, placed)))


def _verdict(record: RunRecord) -> tuple[str, str]:
    if record.verdict is None:
        return "no budget", "The recipe sets no budget: there is nothing to pass or to miss."
    missed = [check.limit for check in record.verdict.checks if not check.passed]
    total = len(record.verdict.checks)
    if not missed:
        estimated = sum(check.quantity.how == "estimated" for check in record.verdict.checks)
        rest = f"; {estimated} of them on an estimate" if estimated else ""
        return "passed", f"All {total} limits are kept{rest}." if total > 1 else f"The one limit is kept{rest}."
    return "missed", f"{len(missed)} of {total} limits missed: {', '.join(missed)}."


def _sections(record: RunRecord, pictures: Mapping[str, tuple[Picture, ...]]) -> Iterator[Section]:
    limits = tables.verdict_table(record)
    if limits:
        yield Section("Verdict", tables=(limits,))
    if warnings := _warnings(record):
        yield Section("What a review must know", items=warnings)
    yield Section(
        "Before and after",
        paragraphs=_lost(record),
        tables=(tables.summary_table(record),),
        pictures=pictures.get("overview", ()),
    )
    yield Section(
        "Stage by stage", paragraphs=(CHANGES,), items=tuple(map(render, record.notes)), tables=(tables.chain_table(record),)
    )
    devices = tables.device_tables(record)
    if devices:
        yield Section("Devices", tables=devices, pictures=pictures.get("devices", ()))
    stages = record.every_stage
    yield Section(
        "What every stage did",
        paragraphs=(
            f"{len(stages)} stages, in order, with their resolved parameters; their scorecards stand in the table above.",
        ),
    )
    for stage in stages:
        yield _stage(stage, pictures.get(f"stage-{stage.index}", ()))
    yield from _ending(record)


CHANGES = (
    "The change against the stage before stands below each value; that of a latency is from one session "
    "that timed both in turns. The note of a latency says which session it is from."
)


def _warnings(record: RunRecord) -> tuple[str, ...]:
    """What no reader may miss, each with its stage; a toy run has missed everything anyway."""
    if record.smoke:
        return ()
    return tuple(
        f"{stage.index} · {stage.name}: {render(warning)}" for stage in record.every_stage for warning in stage.warnings
    )


def _lost(record: RunRecord) -> tuple[str, ...]:
    """The accuracy lost, where the pipeline measured it pair by pair."""
    lost = tables.final_card(record).get("accuracy_drop")
    if lost is None:
        return ()
    return (f"Accuracy lost: {format_with_provenance(lost, 'points')}; {lost.detail}.",)


def _stage(stage: StageRecord, pictures: tuple[Picture, ...]) -> Section:
    facts = f"Took {format_duration(stage.wall_time_s)}; seed {stage.seed}; gives {stage.form}; key {stage.key}."
    found = (tables.results_table(stage), tables.skipped_table(stage), *tables.own_tables(stage))
    return Section(
        f"{stage.index} · {stage.name}",
        level=3,
        paragraphs=(facts,),
        items=tuple(map(render, stage.notes)),
        tables=tuple(table for table in found if table is not None and table.rows),
        pictures=pictures,
        code=(("Parameters", _yaml(stage.parameters)),) if stage.parameters else (),
    )


def _ending(record: RunRecord) -> Iterator[Section]:
    yield Section(
        "How it was made",
        paragraphs=("Enough to repeat the run: surroundings, versions, seeds, data and the recipe as it was resolved.",),
        tables=(
            tables.pairs_table("Surroundings", record.environment),
            tables.versions_table(record),
            tables.seeds_table(record),
            tables.files_table(record),
        ),
        code=(("Data", _yaml(record.data)), ("Recipe", record.recipe_text)),
    )
    yield Section("How the numbers came to be", paragraphs=HOW)


def _yaml(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=110)
