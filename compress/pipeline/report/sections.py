"""Sections of a report, one function each; `compress.core.registry` lists them in the order of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compress.config.yaml_writer import dump
from compress.core.format_quantity import difference_unit, format_duration, format_with_provenance
from compress.core.language import again, gettext, ngettext
from compress.core.record import Metric, StageRecord
from compress.core.run_record import RunRecord
from compress.core.sentences import render, render_subject
from compress.core.sentences.names import stage_title
from compress.core.sentences.report import word
from compress.pipeline.report import class_tables, group_tables, reproduction_tables, stage_tables, tables
from compress.pipeline.report.device_tables import device_tables
from compress.pipeline.report.length_tables import length_tables
from compress.pipeline.report.outline import NOT_JUDGED, Pictures, Section, deciding_metric, is_budget_skipped
from compress.pipeline.report.review_points import missing_stages, missing_title, review_points

CHANGES = (
    "The change against the stage before is shown below each value; that of a latency is from one session that timed both in "
    "turns. The note of a latency says which session it is from."
)
NUMBERS = (
    "Every number of this report has a sign. ● measured: measured or counted in this run; the note below its "
    "table says where, and n is the number of samples or runs. ◐ estimated: a model predicts it, with the band of its known "
    "error; nothing was run. ○ not measured: the value is unknown, and the note says why.",
    "Ranges are 95 % intervals (measured) or error bands (estimated). A proportion has the Wilson score interval; a difference "
    "of two on the same samples has the paired interval of Agresti and Min; percentiles of latency have order-statistic "
    "intervals, which hold for any distribution.",
    "The metric ({metric}) is measured on the test split, which no decision of the run used; decisions were taken on the "
    "validation split. MB are 10⁶ bytes. ÷ 4 means four times less; changes of the metric are in {change}.",
    "A limit is met, met but not shown (its interval reaches across the limit, or the value is an estimate), or missed; one "
    "that could not be measured is missed. The budget's `confidence` says whether a limit that is not shown to be met passes. "
    "Plain numbers in a stage's own tables are its working record: settings, counts, and measurements on training or "
    "validation data.",
)

BOOTSTRAP = (
    "The metric ({metric}) is not a mean over samples. Its interval is the percentile bootstrap: the metric of 1,000 draws of "
    "the test samples with replacement; that of a difference draws the same samples for both networks."
)

LOSSES: Mapping[str, str] = {
    "drop": "Drop of the metric ({metric}): {loss}; {detail}.",
    "rise": "Rise of the metric ({metric}): {loss}; {detail}.",
}
"""Sentences of the loss of the metric, by its direction."""


def verdict(record: RunRecord, pictures: Pictures) -> Iterator[Section]:  # noqa: ARG001
    """The limits of the budget."""
    if is_budget_skipped(record):
        yield Section(gettext("Verdict"), paragraphs=(gettext(NOT_JUDGED),))
    elif limits := tables.verdict_table(record):
        yield Section(gettext("Verdict"), tables=(limits,))


def points_for_review(record: RunRecord, pictures: Pictures) -> Iterator[Section]:  # noqa: ARG001
    """Warnings, each with its stage; none for a smoke run."""
    points = review_points(record)
    if points and not record.smoke:
        yield Section(gettext("Points for review"), items=points)


def before_and_after(record: RunRecord, pictures: Pictures) -> Iterator[Section]:
    """Teacher, student and artifact, with the loss of the deciding metric on the same samples, also by group."""
    metric = deciding_metric(record)
    loss, unit = tables.final_metrics(record).get(metric.loss_name), difference_unit(metric.unit)
    text = ""
    if loss:
        values = {"loss": format_with_provenance(loss, unit), "detail": again(loss.detail)}
        text = gettext(LOSSES[metric.change], metric=gettext(metric.label), **values)
    further, groups = tables.further_table(record), group_tables.group_table(record)
    yield Section(
        gettext("Before and after"),
        paragraphs=(text,) if text else (),
        tables=(tables.summary_table(record).fold(), *((further.fold(),) if further else ()), *((groups,) if groups else ())),
        pictures=pictures.get("overview", ()),
    )


def classes(record: RunRecord, pictures: Pictures) -> Iterator[Section]:
    """Recall and F1 of the classes, confusions, and the samples on which reference and artifact disagree."""
    stage = class_tables.comparison_of(record)
    if stage is None:
        table = class_tables.metric_table(record)
        yield Section(word("classes.title"), paragraphs=class_tables.summary(record), tables=(table,) if table else ())
        return
    yield Section(
        word("classes.title"),
        paragraphs=class_tables.tests(stage[1]),
        tables=tuple(class_tables.class_tables(stage[1])),
        pictures=pictures.get("classes", ()),
    )


def stage_by_stage(record: RunRecord, pictures: Pictures) -> Iterator[Section]:
    """Metrics after every stage."""
    left_out = (gettext("{subject}: {reason}", subject=render_subject(skip), reason=render(skip)) for skip in record.skipped)
    yield Section(
        gettext("Stage by stage"),
        paragraphs=(gettext(CHANGES),),
        items=(*map(render, record.notes), *left_out),
        tables=(tables.chain_table(record).fold(),),
        pictures=pictures.get("chain", ()),
    )


def devices(record: RunRecord, pictures: Pictures) -> Iterator[Section]:
    """Latency, memory and power on every device."""
    if by_device := device_tables(record):
        yield Section(gettext("Devices"), tables=by_device, pictures=pictures.get("devices", ()))


def lengths(record: RunRecord, pictures: Pictures) -> Iterator[Section]:
    """Latency, throughput and memory by sequence length."""
    if by_length := length_tables(record):
        title, text = word("lengths.title"), word("lengths.text")
        yield Section(title, paragraphs=(text,), tables=by_length, pictures=pictures.get("lengths", ()))


def stages(record: RunRecord, pictures: Pictures) -> Iterator[Section]:
    """Results of each stage."""
    text = ngettext(
        "{number} stage with its resolved parameters. Its metrics are in the table “Stage by stage”.",
        "{number} stages, in order, with their resolved parameters. Their metrics are in the table “Stage by stage”.",
        len(record.every_stage),
    )
    yield Section(gettext("Stages in detail"), paragraphs=(text,))
    for stage in record.every_stage:
        yield _stage(stage, deciding_metric(record), pictures)
    for name in missing_stages(record):
        yield Section(missing_title(name), level=3, paragraphs=(word("stages.missing.text"),))


def reproduction(record: RunRecord, pictures: Pictures) -> Iterator[Section]:  # noqa: ARG001
    """Everything that a repetition of the run needs."""
    yield Section(
        gettext("How to repeat the run"),
        paragraphs=(gettext("Licences, environment, versions, seeds, data and the resolved recipe."),),
        tables=(
            reproduction_tables.licences_table(record),
            reproduction_tables.pairs_table(gettext("Environment"), record.environment),
            reproduction_tables.versions_table(record),
            reproduction_tables.seeds_table(record),
            reproduction_tables.files_table(record),
        ),
        code=((gettext("Data"), dump(record.data)), (gettext("Recipe"), record.recipe_text)),
    )


def numbers(record: RunRecord, pictures: Pictures) -> Iterator[Section]:  # noqa: ARG001
    """Meaning of signs and intervals."""
    metric = deciding_metric(record)
    change = gettext("percentage points") if metric.unit == "fraction" else gettext("per cent")
    label = gettext(metric.label)
    paragraphs = [gettext(NUMBERS[index], metric=label, change=change) for index in range(len(NUMBERS))]
    value = tables.final_metrics(record).get(metric.name)
    if value is not None and value.is_bootstrapped:
        paragraphs.insert(2, gettext(BOOTSTRAP, metric=label))
    yield Section(gettext("How the numbers were obtained"), paragraphs=tuple(paragraphs))


def _stage(stage: StageRecord, metric: Metric, pictures: Pictures) -> Section:
    facts = gettext(
        "Duration {time}; seed {seed}; form of the output: {form}; key {key}.",
        time=format_duration(stage.wall_time_s),
        seed=stage.seed,
        form=stage.form,
        key=stage.key,
    )
    candidates = (
        stage_tables.results_table(stage, metric),
        stage_tables.skipped_table(stage),
        *stage_tables.own_tables(stage, metric),
    )
    return Section(
        stage_title(stage),
        level=3,
        paragraphs=(facts,),
        items=tuple(map(render, stage.notes)),
        tables=tuple(table for table in candidates if table is not None and table.rows),
        pictures=pictures.get(f"stage-{stage.index}", ()),
        code=((gettext("Parameters"), dump(stage.parameters)),) if stage.parameters else (),
    )
