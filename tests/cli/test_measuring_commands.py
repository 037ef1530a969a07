"""`profile`, `quantize-report` and `verify` as a user meets them; what they measure is tested with their rooms."""

import json

import onnx
import pytest
from typer.testing import CliRunner

from compress.cli import app
from tests.cli.run_process import compress
from tests.profile.onnx_models import network


def test_profile_of_something_that_is_not_onnx(tmp_path):
    (tmp_path / "model.onnx").write_text("hello")
    done = compress("profile", tmp_path / "model.onnx")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--threads", "--batch"])
@pytest.mark.parametrize("text", ["0", "1,x", "1,,2", "-1", "9999999"])
def test_counts_that_are_none_are_refused_with_an_example(option, text):
    done = CliRunner().invoke(app, ["profile", "model.onnx", option, text])
    assert done.exit_code == 2
    assert f"{option} 1,8" in " ".join(done.output.split())


def test_verify_needs_a_file_or_a_setup():
    done = CliRunner().invoke(app, ["verify"])
    assert done.exit_code == 2
    assert "--setup" in done.output


def test_json_of_a_profile_is_nothing_but_json(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(network(), path)
    done = CliRunner().invoke(app, ["profile", str(path), "--seconds", "0.05", "--json"])
    (row,) = json.loads(done.stdout)["profile"]
    assert row["device"] == "host"
    assert row["quantities"]["size_bytes"]["value"] == path.stat().st_size
