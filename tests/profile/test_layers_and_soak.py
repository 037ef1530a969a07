import json

import pytest
from typer.testing import CliRunner

from compress.cli import app
from compress.core.errors import CompressError
from compress.core.progress import NullReporter
from compress.profile.layers_and_soak import LAYERS, profile_detail, profile_file_details


def test_nothing_is_done_that_was_not_asked_for(tiny):
    found = profile_file_details(
        {"tiny": tiny}, {}, layered=False, soak_seconds=None, threads=1, seconds=1.0, reporter=NullReporter()
    )
    assert found.as_json() == {"layers": {}, "soak": {}, "notes": ()}


def test_a_file_without_a_student_gets_a_table_of_its_own(tiny):
    with_feeds = profile_detail(
        {"artifact": tiny}, {"artifact": feeds(tiny)}, threads=1, seconds=0.02, soak_seconds=None, reporter=NullReporter()
    )
    assert {"time", "share"} <= set(with_feeds.tables[LAYERS][0])


def feeds(path):
    from compress.backends.onnxruntime_runner import OnnxRuntimeRunner

    with OnnxRuntimeRunner(path) as runner:
        return runner.sample()


def test_a_file_that_cannot_be_timed_by_layer_is_skipped_with_the_reason(tmp_path):
    missing = tmp_path / "gone.onnx"
    found = profile_detail(
        {"artifact": missing}, {"artifact": {}}, threads=1, seconds=0.1, soak_seconds=None, reporter=NullReporter()
    )
    ((skip),) = found.skipped
    assert skip.code == "profile.layers_failed"
    assert "gone.onnx" in skip.values["error"]
    assert found.tables == {}


def test_the_verb_shows_layers_and_a_soak(tiny):
    done = CliRunner().invoke(app, ["profile", str(tiny), "--seconds", "0.05", "--layers", "--soak", "0.3s"])
    assert done.exit_code == 0, done.output
    for words in ("time by layer", "conv", "layers sum to", "without pause", "soak: no memory leak", "over time"):
        assert words in done.output


def test_json_holds_the_same(tiny):
    done = CliRunner().invoke(app, ["profile", str(tiny), "--seconds", "0.05", "--layers", "--soak", "0.3s", "--json"])
    found = json.loads(done.stdout)
    assert found["layers"]["tiny"][0]["time"]["how"] == "measured"
    assert found["soak"]["tiny"]["quantities"]["soak_outliers"]["unit"] == "fraction"
    assert found["soak"]["tiny"]["curves"]["soak_latency"]["y"]
    assert len(found["notes"]) == 4


def test_a_length_that_is_none_is_refused_before_anything_is_measured(tiny):
    done = CliRunner().invoke(app, ["profile", str(tiny), "--soak", "soon"])
    assert isinstance(done.exception, CompressError)
    assert "write 90s, 10m" in str(done.exception)
    with pytest.raises(CompressError, match="no such file"):
        profile_file_details(
            {"x": tiny.parent / "x.onnx"},
            {"x": {}},
            layered=False,
            soak_seconds=1,
            threads=1,
            seconds=1,
            reporter=NullReporter(),
        )
