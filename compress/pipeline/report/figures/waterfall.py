"""Waterfalls: what each stage added to and took from the metric, the size and the latency."""

from __future__ import annotations

from dataclasses import replace

from compress.core.comparable_latency import stage_metrics
from compress.core.format_quantity import format_change, format_quantity, quantity_label
from compress.core.language import gettext, joined
from compress.core.record import Metrics, Quantity
from compress.core.run_record import RunRecord
from compress.core.sentences.names import network_words
from compress.pipeline.report.charts.axis import axis_of
from compress.pipeline.report.charts.bars import BarGroup, ChartBar, draw_bars
from compress.pipeline.report.figures.figure_file import FigureFile
from compress.pipeline.report.figures.metric_axis import metric_axis, metric_scale
from compress.pipeline.report.figures.overview import AXIS_LABELS, MEASURES, changed_stages
from compress.pipeline.report.outline import deciding_metric, sentence_start
from compress.pipeline.report.tables import final_metrics, reference_metrics


def waterfall(record: RunRecord, name: str) -> FigureFile | None:
    """A waterfall of the deciding metric, `size_bytes` or `latency_ms`, from the reference to the artifact.

    Returns:
        None where fewer than two networks have a value.
    """
    metric = deciding_metric(record)
    is_metric = name == metric.name
    factor = metric_scale(metric)[0] if is_metric else MEASURES[name][1]
    chain = [(title, value) for title, metrics in _chain(record) if (value := metrics.get(name)) and value.value is not None]
    if len({title for title, _ in chain}) < 3:  # the reference and the artifact alone show no stages
        return None
    values = [(quantity.value or 0.0) * factor for _, quantity in chain]
    higher = metric.higher_is_better if is_metric else False
    axis = (
        metric_axis(metric, values, "test", margin=0.12)
        if is_metric
        else axis_of(gettext(AXIS_LABELS[name]), values, margin=0.1)
    )
    axis = replace(axis, inverted=False)
    bars = [
        _bar(chain, index, value, values[index - 1] if index else None, higher=higher) for index, value in enumerate(values)
    ]
    shown = gettext(metric.label) if is_metric else quantity_label(name)
    changes = joined((f"{bar.name} {bar.text}" for bar in bars), ", ")
    alternative = gettext("{quantity} by stage: {changes}", quantity=shown, changes=changes)
    caption = gettext(
        "{quantity} by stage, from the {reference} to the artifact: a bar spans from the value before a stage to the value "
        "after it. Orange bars are changes for the worse.",
        quantity=sentence_start(shown),
        reference=chain[0][0],
    )
    svg = draw_bars([BarGroup("", bars)], axis, alternative)
    return FigureFile(f"waterfall_{name}", "chain", caption, svg, alternative=alternative)


def _chain(record: RunRecord) -> list[tuple[str, Metrics]]:
    """The reference, every stage that changed the network, and the artifact."""
    name, reference = reference_metrics(record)
    chain = [(name, reference), *((stage.name, stage_metrics(record, stage)) for stage in changed_stages(record))]
    return [*chain, (network_words("artifact"), final_metrics(record))]


def _bar(chain: list[tuple[str, Quantity]], index: int, value: float, before: float | None, *, higher: bool) -> ChartBar:
    title, quantity = chain[index]
    hollow = quantity.how == "estimated"
    text = format_quantity(quantity)
    if before is None or index == len(chain) - 1:
        style = "artifact" if before is not None else "teacher"
        return ChartBar(title, value, text, style, hollow=hollow)
    change = format_change(chain[index - 1][1], quantity)
    if value == before:
        return ChartBar(title, value, f"{text} ({change})", "teacher", start=before, hollow=hollow)
    style = "c1" if (value < before) == higher else "c2"
    return ChartBar(title, value, f"{text} ({change})" if change else text, style, start=before, hollow=hollow)
