"""Artifacts of detectors: where the suppression is, and that both forms give the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.export.graph_with_postprocessing import file_name, write_graph
from compress.export.run_artifact import is_own_script, read_spec
from compress.export.settings import ExportTarget, Placement
from compress.export.stage import Export
from compress.export.write_artifact import ArtifactComparisons, write_artifact
from compress.tasks.nms import NonMaximumSuppression
from tests.export.detector import detector, drawn_data


def written(path: Path) -> Candidate:
    return Candidate(detector().spec, files={"onnxruntime": path})


@pytest.mark.parametrize(
    ("placement", "files", "outputs"),
    [
        (None, {"model.onnx", "model_nms.onnx"}, "class_logits"),
        ("both", {"model.onnx", "model_nms.onnx"}, "class_logits"),
        ("outside", {"model.onnx"}, "class_logits"),
        ("graph", {"model.onnx"}, "detected_boxes"),
    ],
)
def test_files_by_placement(
    placement: Placement | None, files: set[str], outputs: str, exported_detector: Path, detector_context: Context
) -> None:
    candidate = detector()
    outcome = Export(postprocessing=placement).run(candidate, detector_context)
    folder = detector_context.folder / "artifacts" / "host"
    assert {path.name for path in folder.glob("*.onnx")} == files
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["outputs"][0]["name"] == outputs
    assert files <= set(manifest["files"])
    assert [entry["file"] for entry in manifest.get("other forms", [])] == sorted(files - {"model.onnx"})
    assert read_spec(folder / "model.onnx").output_names[0] == outputs
    assert is_own_script(folder)
    rows = [row for row in outcome.tables["parity"] if "NMS" in row["pair"]]
    assert len(rows) == (0 if placement == "outside" else 2)
    assert all(row["top1"] in (None, 1.0) for row in rows)
    assert all(row["map50"] == pytest.approx(rows[0]["map50"], abs=1e-3) for row in rows)


def test_the_script_reads_both_forms(exported_detector: Path, detector_context: Context, tmp_path: Path) -> None:
    candidate, source = detector(), exported_detector
    image = next(iter(detector_context.data.test.ordered(1))).input.numpy()
    pixels = image[0] * np.array(candidate.spec.std).reshape(-1, 1, 1) + np.array(candidate.spec.mean).reshape(-1, 1, 1)
    np.save(tmp_path / "image.npy", pixels.astype(np.float32))
    answers = []
    for placement in ("outside", "graph"):
        folder = tmp_path / placement
        write_artifact(ExportTarget("host", "onnxruntime"), written(source), folder, detector_context, placement)  # type: ignore[arg-type]
        names: dict[str, object] = {"__file__": str(folder / "infer.py"), "__name__": "script"}
        exec(compile((folder / "infer.py").read_text(encoding="utf-8"), "infer.py", "exec"), names)  # noqa: S102
        answers.append(names["detect"](tmp_path / "image.npy", least_score=0.05))  # type: ignore[operator]
    assert len(answers[0]) == len(answers[1]) > 5
    for (label, score, box), (other, again, same) in zip(*answers, strict=True):
        assert label == other
        assert score == pytest.approx(again, abs=1e-4)
        assert box == pytest.approx(same, abs=1e-4)


def test_tensorrt_keeps_it_outside(exported_detector: Path, detector_context: Context, tmp_path: Path) -> None:
    candidate, source = detector(), exported_detector
    inside, notes = write_artifact(ExportTarget("jetson", "tensorrt"), written(source), tmp_path / "jetson", detector_context)
    assert inside is None
    assert "stays outside the graph for tensorrt" in render(notes[0])
    assert ArtifactComparisons(detector_context).rows(source, inside, candidate.spec) == []


def test_a_network_is_compared_once(exported_detector: Path, detector_context: Context, tmp_path: Path) -> None:
    candidate, source = detector(), exported_detector
    inside = tmp_path / file_name(NonMaximumSuppression())
    results = write_graph(source, inside, candidate.spec, NonMaximumSuppression())
    assert results.output_names == ("detected_boxes", "detected_scores", "detected_classes")
    comparisons = ArtifactComparisons(detector_context)
    assert len(comparisons.rows(source, inside, candidate.spec)) == 2
    assert comparisons.rows(source, inside, candidate.spec) == []


def test_a_task_without_postprocessing_ships_as_before(make_context: Callable[..., Context], exported_detector: Path) -> None:
    context = make_context(drawn_data())
    inside, notes = write_artifact(
        ExportTarget("host", "onnxruntime"), written(exported_detector), context.folder / "host", context, None
    )
    assert (inside, notes) == (None, ())
    assert [path.name for path in (context.folder / "host").glob("*.onnx")] == ["model.onnx"]
