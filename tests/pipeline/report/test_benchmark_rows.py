from __future__ import annotations

from compress.core.run_record import RunRecord
from compress.pipeline.report.benchmark_rows import benchmark_rows
from compress.pipeline.report.device_tables import device_tables
from compress.pipeline.report.figures.draw import draw


def profiled_twice(record: RunRecord) -> RunRecord:
    """The run with another profile stage between prune and quantize."""
    distill, prune, quantize, *_, profile = record.stages
    early = profile.model_copy(update={"index": 3, "before": prune.after, "after": prune.after})
    quantize = quantize.model_copy(update={"index": 4})
    return record.model_copy(update={"stages": (distill, prune, early, quantize, profile)})


def subjects(record: RunRecord, index: int) -> set[str]:
    return {row.subject for stage, row in benchmark_rows(record) if stage.index == index}


def test_a_network_that_a_later_stage_changed_is_not_called_the_artifact(record: RunRecord) -> None:
    run = profiled_twice(record)
    assert subjects(run, 3) == {"teacher", "student", "network before quantize"}
    assert subjects(run, 5) == {"teacher", "student", "artifact"}


def test_the_profile_of_what_ships_keeps_its_names(record: RunRecord) -> None:
    assert subjects(record, 5) == {"teacher", "student", "artifact"}
    assert [row for _, row in benchmark_rows(record)] == list(record.stages[-1].benchmark_rows)


def test_a_profile_before_export_measured_what_ships(record: RunRecord) -> None:
    *stages, export, profile = record.stages
    early = profile.model_copy(update={"index": 4, "after": export.after})
    moved = record.model_copy(update={"stages": (*stages, early, export.model_copy(update={"index": 5}))})
    assert "artifact" in subjects(moved, 4)


def test_tables_and_the_figure_of_devices_show_the_name(record: RunRecord) -> None:
    run = profiled_twice(record)
    headers = [table.header for table in device_tables(run) if "stage 3" in table.title]
    assert headers
    assert all(header[-2:] == ("network before quantize", "network before quantize against teacher") for header in headers)
    assert any(figure.name == "latency" for figure in draw(run))
