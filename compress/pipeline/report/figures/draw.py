"""All pictures of a report, in its order. Equal records give equal bytes."""

from __future__ import annotations

from pathlib import Path

from compress.core.run_record import RunRecord
from compress.pipeline.report.figures.devices import latency_by_device
from compress.pipeline.report.figures.disagreements import disagreement_pictures
from compress.pipeline.report.figures.figure_file import FigureFile
from compress.pipeline.report.figures.layers import layer_figures
from compress.pipeline.report.figures.lengths import latency_by_length
from compress.pipeline.report.figures.overview import metric_against, reduction_factors
from compress.pipeline.report.figures.pareto import pareto
from compress.pipeline.report.figures.saved_figures import saved_figures
from compress.pipeline.report.figures.training_curves import draw_stage
from compress.pipeline.report.figures.waterfall import waterfall
from compress.pipeline.report.outline import deciding_metric


def draw(record: RunRecord, run: Path | None = None) -> tuple[FigureFile, ...]:
    """All pictures for which a record has data, and those that stages saved in the run directory."""
    metric = deciding_metric(record)
    overview = (
        metric_against(record, "latency_ms", "front"),
        reduction_factors(record),
        metric_against(record, "size_bytes", "overview"),
        pareto(record, run) if run else None,
        *(waterfall(record, name) for name in (metric.name, "size_bytes", "latency_ms")),
        latency_by_device(record),
        *latency_by_length(record),
    )
    own = (
        picture
        for stage in record.every_stage
        for picture in (*(saved_figures(stage, run) if run else ()), *draw_stage(stage, metric), *layer_figures(stage))
    )
    return (*(picture for picture in overview if picture), *disagreement_pictures(record), *own)
