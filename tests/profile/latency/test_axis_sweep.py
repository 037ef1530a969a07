"""A sweep over the size of an axis: one row a size, sizes that do not run with the reason, and a figure."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from compress.config.devices import host
from compress.core.errors import ConversionError
from compress.core.language import in_language
from compress.core.progress import NullReporter
from compress.core.record import Quantity
from compress.profile.latency.axis_sweep import draw_sweep, sweep_axis
from compress.profile.settings import MeasurementSettings
from tests.profile.onnx_models import tensor

PLAN = MeasurementSettings(threads=1, seconds=0.02, warmup_seconds=0.0, min_runs=10)


@pytest.fixture
def pairs(save):
    """y = x reshaped to (n, 2): takes an even number of columns only."""
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 2])
    graph = helper.make_graph(
        [node], "g", [tensor("x", TensorProto.FLOAT, ["n", "columns"])], [tensor("y", TensorProto.FLOAT, None)], [shape]
    )
    return save("pairs.onnx", helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))


def _feeds(*sizes):
    return {size: {"x": np.zeros((1, size), np.float32)} for size in sizes}


def _sweep(path, *sizes):
    return sweep_axis(path, "columns", _feeds(*sizes), host(), PLAN, batch=1, reporter=NullReporter())


def test_every_size_is_timed_in_one_session(pairs):
    rows, skipped = _sweep(pairs, 2, 8, 64)
    assert skipped == ()
    assert [(row["file"], row["axis"], row["size"], row["batch"]) for row in rows] == [
        ("pairs.onnx", "columns", size, 1) for size in (2, 8, 64)
    ]
    for row in rows:
        latency = Quantity.model_validate(row["latency_p50_ms"])
        assert latency.how == "measured"
        assert "3 files timed in turns" in latency.detail
        assert Quantity.model_validate(row["throughput_per_s"]).value == pytest.approx(1000 / latency.value)
        assert row["runs"] >= PLAN.min_runs


def test_a_size_that_does_not_run_is_left_out_with_the_reason(pairs):
    rows, skipped = _sweep(pairs, 3, 4)
    assert [row["size"] for row in rows] == [4]
    assert [(fact.code, fact.values["size"]) for fact in skipped] == [("profile.sweep_size_failed", 3)]
    assert "does not run on inputs" in skipped[0].values["error"]


def test_no_size_that_runs_gives_no_rows(pairs):
    assert _sweep(pairs, 3, 5)[0] == ()


def test_a_file_that_cannot_be_loaded_is_an_error(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ConversionError, match="broken"):
        _sweep(path, 2)


def test_the_figure_has_a_line_for_each_file(monkeypatch):
    drawn = []
    monkeypatch.setattr("compress.core.plot_style.to_png", lambda figure: drawn.append(figure) or b"")
    latency = {"value": 2.0, "unit": "ms", "how": "measured", "low": 1.5, "high": 3.0}
    rows = [{"file": file, "axis": "columns", "size": size, "latency_p50_ms": latency} for file in "ab" for size in (2, 8)]
    draw_sweep(rows)
    (axes,) = drawn[0].axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert axes.get_xlabel() == "size of axis columns"
    assert axes.get_ylim()[0] == 0


def test_the_labels_of_an_svg_are_text_in_the_language_in_use(caplog):
    latency = {"value": 2.0, "unit": "ms", "how": "measured", "low": 1.5, "high": 3.0}
    rows = [{"file": "a", "axis": "columns", "size": size, "latency_p50_ms": latency} for size in (2, 8)]
    with in_language("zh"):
        drawing = draw_sweep(rows, as_svg=True).decode()
        png = draw_sweep(rows)
    assert ">中位延迟（ms）</text>" in drawing
    assert "Noto Sans CJK SC" in drawing
    assert png.startswith(b"\x89PNG")
    assert not caplog.records
