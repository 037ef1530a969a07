"""Figures of one stage."""

import pytest
from matplotlib.figure import Figure

from compress.core.record import Curve, Metric
from compress.core.run_record import RunRecord
from compress.pipeline.report import training_curves
from compress.pipeline.report.training_curves import draw_stage
from compress.tasks.classification import ACCURACY
from tests.pipeline.report.pages import PERPLEXITY, of_perplexity


def test_a_stage_gets_a_figure_for_what_its_record_holds(record: RunRecord) -> None:
    distill, prune, quantize = record.stages[:3]
    assert [picture.name for picture in draw_stage(distill, ACCURACY)] == ["01_distill_curves"]
    assert [picture.name for picture in draw_stage(prune, ACCURACY)] == ["02_prune_steps", "02_prune_curves"]
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
    assert drawn.png != missing.png
    assert accuracy.png != missing.png


def test_a_curve_without_values_is_not_drawn(record: RunRecord) -> None:
    empty = Curve(x_label="epoch", y_label="loss", x=(1, 2), y=(None, None))
    assert list(draw_stage(record.stages[2].model_copy(update={"curves": {"loss": empty}}), ACCURACY)) == []


def test_lines_connect_only_the_steps_that_were_kept(record: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    real = training_curves.to_png
    monkeypatch.setattr(training_curves, "to_png", lambda figure: figures.append(figure) or real(figure))
    prune = record.stages[1]
    rows = tuple({**row, "kept": row["step"] != 3} for row in prune.tables["pruning_steps"])
    drawn = next(iter(draw_stage(prune.model_copy(update={"tables": {"pruning_steps": rows}}), ACCURACY)))
    assert "steps that were undone" in drawn.caption
    for axes in figures[0].axes:
        lines = {tuple(line.get_xdata()) for line in axes.lines}
        assert lines == {(0, 1, 2, 4), (3,)}
        assert all(line.get_linestyle() == "None" for line in axes.lines if len(line.get_xdata()) == 1)


def test_pruning_steps_have_better_values_upwards(record: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(training_curves, "to_png", lambda figure: figures.append(figure) or b"")
    for each, metric in ((record, ACCURACY), (of_perplexity(record), PERPLEXITY)):
        next(iter(draw_stage(each.stages[1], metric)))
    axes = [figure.axes[0] for figure in figures]
    assert [(each.get_ylabel(), each.yaxis_inverted()) for each in axes] == [
        ("validation accuracy (%)", False),
        ("validation perplexity", True),
    ]
    percent, plain = (max(line.get_ydata().max() for line in each.lines if len(line.get_ydata())) for each in axes)
    assert percent == pytest.approx(100 * plain)
