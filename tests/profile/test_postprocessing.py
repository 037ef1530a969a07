"""A detector alone, with suppression in its graph, and with it outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from compress.backends.export_onnx import export_onnx
from compress.backends.open_runner import open_runner
from compress.core.stage import Candidate, Context
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.models.detectors import SmallDetector
from compress.pipeline.report.stage_tables import own_tables
from compress.profile.postprocessing import FollowedRunner, compare_postprocessing
from compress.profile.settings import MeasurementSettings
from compress.profile.stage import Profile
from compress.profile.this_machine import samples
from compress.tasks.detection import Detection

TASK = Detection()
PLAN = MeasurementSettings(threads=1, seconds=0.1, warmup_seconds=0.0, min_runs=40)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> tuple[Candidate, Context]:
    data = load_data(DataSettings(source="drawn_boxes", image_size=32, samples=62, evaluation_limit=8), base=Path())
    spec = TASK.complete_spec(data.spec)
    folder = tmp_path_factory.mktemp("detector")
    torch.manual_seed(0)
    export_onnx(SmallDetector(len(spec.classes), (32, 32), width=4).eval(), spec, folder / "model.onnx")
    candidate = Candidate(spec, files={"onnxruntime": folder / "model.onnx"})
    return candidate, Context(data=data, task=TASK, folder=folder, cache=folder)


def test_each_variant_is_timed_and_both_with_results_are_judged(detector: tuple[Candidate, Context]) -> None:
    candidate, context = detector
    network = candidate.files["onnxruntime"]
    feeds = samples(context.data.validation, 1)
    rows = compare_postprocessing(network, feeds, candidate.spec, context, PLAN, batch=1)
    assert [row["variant"] for row in rows] == [
        "network alone",
        "NMS in the graph",
        "NMS outside, by the code of infer.py",
    ]
    alone, inside, outside = rows
    assert all(row["latency_p50_ms"]["how"] == "measured" for row in rows)  # type: ignore[index]
    assert alone["map50"] is None
    assert inside["map50"]["how"] == outside["map50"]["how"] == "measured"  # type: ignore[index]
    assert inside["map50"]["value"] == pytest.approx(outside["map50"]["value"], abs=1e-3)  # type: ignore[index]
    assert inside["size_bytes"]["value"] > alone["size_bytes"]["value"] == outside["size_bytes"]["value"]  # type: ignore[index]
    assert [path.name for path in context.folder.glob("*.onnx")] == ["model.onnx"]


def test_the_stage_has_a_table_that_the_report_shows(detector: tuple[Candidate, Context]) -> None:
    candidate, context = detector
    outcome = Profile(seconds=0.05).run(candidate, context)
    assert [row["device"] for row in outcome.tables["post_processing"]] == ["host"] * 3
    assert [row.subject for row in outcome.benchmark_rows] == ["artifact"]
    record = _Record(outcome.tables)
    (table,) = [table for table in own_tables(record, TASK.metric_info) if table.title == "Post processing"]  # type: ignore[arg-type]
    assert table.header == ("device", "variant", "mAP50", "latency p50 ms", "size bytes")
    assert [row[3].how for row in table.rows] == ["measured"] * 3
    assert [row[2].how for row in table.rows] == [None, "measured", "measured"]


class _Record:
    def __init__(self, tables: object) -> None:
        self.tables = tables


def test_a_task_without_postprocessing_has_no_rows(
    detector: tuple[Candidate, Context], make_context: Callable[..., Context]
) -> None:
    candidate, context = detector
    plain = make_context(context.data)
    assert compare_postprocessing(candidate.files["onnxruntime"], {}, candidate.spec, plain, PLAN, batch=1) == ()


def test_what_follows_is_run_after_each_inference(detector: tuple[Candidate, Context]) -> None:
    candidate, context = detector
    seen: list[int] = []
    with FollowedRunner(
        open_runner("onnxruntime", candidate.files["onnxruntime"]), lambda outputs: seen.append(len(outputs))
    ) as runner:
        feeds = {"input": next(iter(samples(context.data.validation, 2).values()))}
        assert len(runner.run(feeds)) == 3
        runner.reload()
        assert len(runner.run(feeds)[0]) == 2
        assert runner.describe()["runtime"].startswith("ONNX Runtime")
    assert seen == [3, 3]
