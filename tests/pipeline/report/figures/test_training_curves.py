"""Figures of one stage."""

import re

from compress.core.record import Curve, Metric
from compress.core.run_record import RunRecord
from compress.pipeline.report.figures.training_curves import draw_stage
from compress.tasks.classification import ACCURACY
from tests.pipeline.report.pages import PERPLEXITY, of_perplexity


def test_a_stage_gets_a_figure_for_what_its_record_holds(record: RunRecord) -> None:
    distill, prune, quantize = record.stages[:3]
    assert [picture.name for picture in draw_stage(distill, ACCURACY)] == [
        "01_distill_curves_loss",
        "01_distill_curves_accuracy",
        "01_distill_curves_learning_rate",
    ]
    assert [picture.name for picture in draw_stage(prune, ACCURACY)] == [
        "02_prune_steps",
        "02_prune_remaining",
        "02_prune_curves_loss",
    ]
    assert list(draw_stage(quantize, ACCURACY)) == []
    assert {picture.section for picture in draw_stage(prune, ACCURACY)} == {"stage-2"}


def test_pruning_steps_are_drawn_from_the_deciding_metric(record: RunRecord) -> None:
    prune = record.stages[1]
    other = Metric(name="map", label="mAP", unit="fraction", higher_is_better=True)
    accuracy, missing = (next(iter(draw_stage(prune, metric))) for metric in (ACCURACY, other))
    rows = tuple({key.replace("accuracy", "map"): value for key, value in row.items()} for row in prune.tables["pruning_steps"])
    renamed = prune.model_copy(update={"tables": {"pruning_steps": rows}})
    drawn = next(iter(draw_stage(renamed, other)))
    assert "mAP" in drawn.caption
    assert drawn.svg != missing.svg
    assert accuracy.svg != missing.svg


def test_a_curve_without_values_is_not_drawn(record: RunRecord) -> None:
    empty = Curve(x_label="epoch", y_label="loss", x=(1, 2), y=(None, None))
    assert list(draw_stage(record.stages[2].model_copy(update={"curves": {"loss": empty}}), ACCURACY)) == []


def lines_of(svg: str) -> list[tuple[str, int]]:
    """Class and number of points of each line below the legend."""
    lines = re.findall(r'<polyline points="([^"]*)" class="([^"]*)"', svg)
    return [(style, len(points.split())) for points, style in lines if len(points.split()) > 2]


def test_lines_connect_only_the_steps_that_were_kept(record: RunRecord) -> None:
    prune = record.stages[1]
    rows = tuple({**row, "kept": row["step"] != 3} for row in prune.tables["pruning_steps"])
    drawn = next(iter(draw_stage(prune.model_copy(update={"tables": {"pruning_steps": rows}}), ACCURACY)))
    assert "steps that were undone" in drawn.caption
    assert sorted(lines_of(drawn.svg)) == [("stroke c0", 4), ("stroke c1", 4)]
    assert len(re.findall(r'class="hollow c[01]"', drawn.svg)) == 2


def test_pruning_steps_have_better_values_upwards(record: RunRecord) -> None:
    for each, metric, label in (
        (record, ACCURACY, "validation accuracy (%)"),
        (of_perplexity(record), PERPLEXITY, "validation perplexity"),
    ):
        drawn = next(iter(draw_stage(each.stages[1], metric)))
        ticks = re.findall(r'<text x="56" y="([\d.]+)" class="tick" text-anchor="end">([\d.,]+)<', drawn.svg)
        heights = sorted(ticks, key=lambda tick: float(tick[1].replace(",", "")))
        assert label in drawn.svg
        down = [float(height) for height, _ in heights]
        assert len(down) > 2
        assert down == sorted(down, reverse=metric.higher_is_better)


def test_validation_is_a_broken_line_in_the_colour_of_its_training_curve(record: RunRecord) -> None:
    loss = next(picture for picture in draw_stage(record.stages[0], ACCURACY) if picture.name.endswith("_loss"))
    assert lines_of(loss.svg) == [("stroke c0", 10), ("stroke c0 dash", 10)]
    assert "dashed lines are on the validation split" in loss.caption
    assert "loss from 2.3 to" in loss.alternative
