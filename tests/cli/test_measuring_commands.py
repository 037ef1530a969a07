"""`profile`, `quantize-report` and `verify` as a user meets them; what they measure is tested with their rooms."""

import json

import numpy
import onnx
import pytest
from typer.testing import CliRunner

from compress.cli import app
from tests.cli.run_process import compress
from tests.profile.onnx_models import encoder, network, tokens


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


def test_texts_in_json_are_sentences_in_the_language_in_use(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(network(), path)
    command = ["profile", str(path), "--seconds", "0.05", "--json"]
    found = [json.loads(CliRunner().invoke(app, command, env={"COMPRESS_LANG": name}).stdout) for name in ("en", "zh")]
    english, chinese = (result["profile"][0]["quantities"]["latency_p50_ms"]["detail"] for result in found)
    assert "thread" in english
    assert "线程" in chinese


def test_profile_sweeps_a_range_of_sizes_and_says_what_the_file_takes(tmp_path):
    path, figure = tmp_path / "model.onnx", tmp_path / "sizes.png"
    onnx.save(tokens(), path)
    options = ["--seconds", "0.05", "--shape", "ids:1x2..4", "--figure", str(figure), "--json"]
    done = CliRunner().invoke(app, ["profile", str(path), *options])
    report = json.loads(done.stdout)
    assert report["profile"][0]["inputs"] == "ids 1×4, mask 1×4"
    assert [row["size"] for row in report["sizes"]] == [2, 4]
    assert figure.read_bytes().startswith(b"\x89PNG")
    ids, mask = report["signatures"]["model"]["inputs"]
    assert (ids["name"], ids["dtype"], ids["shape"], ids["values"]) == ("ids", "int64", ["batch", "sequence"], [0, 8])
    assert mask["values"] == [1, 1]


def test_profile_feeds_given_arrays(tmp_path):
    onnx.save(tokens(), tmp_path / "model.onnx")
    numpy.savez(tmp_path / "feeds.npz", mask=numpy.ones((1, 4), numpy.int64))
    options = ["--feeds", str(tmp_path / "feeds.npz"), "--devices", "mobile_cpu"]
    done = CliRunner().invoke(app, ["profile", str(tmp_path / "model.onnx"), *options])
    assert "ids 1×4, mask 1×4" in done.stdout


def test_a_shape_that_does_not_fit_is_one_sentence(tmp_path):
    onnx.save(tokens(), tmp_path / "model.onnx")
    done = compress("profile", tmp_path / "model.onnx", "--shape", "pixels:1x3")
    assert done.returncode == 2
    assert "has no input 'pixels'; it has ids: int64 batch×sequence" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_profile_by_sequence_length(tmp_path):
    path = tmp_path / "encoder.onnx"
    onnx.save(encoder(positions=16), path)
    options = ("--seconds", "0.05", "--lengths", "8,32", "--figure", str(tmp_path / "lengths.png"))
    done = CliRunner().invoke(app, ["profile", str(path), *options], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "latency by sequence length" in done.stdout
    assert "length 32 not measured: the file does not run at this length" in done.stdout
    assert (tmp_path / "lengths.png").read_bytes().startswith(b"\x89PNG")


def test_a_language_model_is_measured_by_prompts_and_tokens(language_artifact):
    folder, _ = language_artifact
    arguments = ["profile", str(folder / "model.onnx"), "--contexts", "4,8", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["generation"]
    assert [row["context"] for row in rows] == [4, 8]
    assert rows[0]["decode_tokens_per_s"]["how"] == "measured"
