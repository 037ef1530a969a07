"""Files whose graph ends in non-maximum suppression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from compress.core.errors import ConversionError
from compress.core.stage import Context
from compress.export.graph_with_postprocessing import compare_with_outside, file_name, write_graph
from compress.export.run_artifact import read_spec
from compress.tasks.nms import NonMaximumSuppression
from tests.export.detector import detector


def test_the_file_describes_its_results(exported_detector: Path, tmp_path: Path) -> None:
    candidate, post = detector(), NonMaximumSuppression()
    assert file_name(post) == "model_nms.onnx"
    results = write_graph(exported_detector, tmp_path / "inside.onnx", candidate.spec, post)
    assert results.output_names == ("detected_boxes", "detected_scores", "detected_classes")
    read = read_spec(tmp_path / "inside.onnx")
    assert read == results
    assert read.signature.inputs == candidate.spec.signature.inputs


def test_both_forms_have_one_metric(exported_detector: Path, detector_context: Context, tmp_path: Path) -> None:
    candidate, post = detector(), NonMaximumSuppression()
    write_graph(exported_detector, tmp_path / "inside.onnx", candidate.spec, post)
    outside, inside = compare_with_outside(exported_detector, tmp_path / "inside.onnx", candidate.spec, detector_context, post)
    assert (outside["top1"], inside["top1"]) == (None, 1.0)
    assert inside["max_abs"] < 1e-4
    assert inside["map50"] == pytest.approx(outside["map50"], abs=1e-3)


def test_a_batch_has_a_row_of_results_for_each_image(
    exported_detector: Path, detector_context: Context, tmp_path: Path
) -> None:
    candidate, source = detector(), exported_detector
    write_graph(source, tmp_path / "inside.onnx", candidate.spec, NonMaximumSuppression())
    session = onnxruntime.InferenceSession(tmp_path / "inside.onnx")
    batch = next(iter(detector_context.data.test.ordered(5)))
    boxes, scores, classes = session.run(None, {"input": batch.input.numpy()})
    assert (boxes.shape[0], scores.shape[0], classes.shape[0]) == (5, 5, 5)
    alone = session.run(None, {"input": batch.input.numpy()[3:4]})
    assert np.allclose(alone[1][0], scores[3], atol=1e-5)


def test_other_results_are_an_error(exported_detector: Path, detector_context: Context, tmp_path: Path) -> None:
    candidate, source = detector(), exported_detector

    class Shifted(NonMaximumSuppression):
        def run(self, outputs, spec):  # type: ignore[no-untyped-def]
            found = super().run(outputs, spec)
            return found | {"detected_boxes": found["detected_boxes"] + 20}

    write_graph(source, tmp_path / "inside.onnx", candidate.spec, Shifted())
    with pytest.raises(ConversionError, match=r"gives other results than outside.*postprocessing: outside"):
        compare_with_outside(source, tmp_path / "inside.onnx", candidate.spec, detector_context, Shifted())
