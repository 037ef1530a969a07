"""`compress quantize-report` on a real run and on what is none."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import compress
from compress.cli import app
from compress.core.errors import CompressError, ConversionError, StoreError
from compress.pipeline.pipeline import Pipeline

TINY = """\
name: tiny
data: {source: digits, image_size: 32, limit: 96, validation: 0.1, test: 0.1}
model: {source: "torchvision:squeezenet1_1"}
stages:
  - train: {epochs: 1}
  - quantize: {calibration: {samples: 16}, keep_float: [features.3.squeeze]}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.yaml").write_text(TINY)
    return Pipeline.load(folder / "tiny.yaml", smoke=True).run(out=folder / "out").folder


def test_a_run_directory_is_enough_and_its_own_reasons_are_told(run: Path) -> None:
    found = compress.quantize_report(run, seconds=0.05)
    assert (found.quantized, found.parent) == (run / "02-quantize" / "model.onnx", run / "01-train" / "model.onnx")
    row = next(row for row in found.layers if row["module"] == "features.3.squeeze")
    assert "kept in float by keep_float" in row["why"]
    assert any("features.3.squeeze" in row["around"] and row["isolated"] for row in found.conversions)


def test_a_file_of_a_run_finds_its_parent_and_another_needs_it_named(run: Path, tmp_path: Path) -> None:
    assert compress.quantize_report(run / "02-quantize" / "model.onnx", seconds=0.05).parent == run / "01-train" / "model.onnx"
    shutil.copy(run / "02-quantize" / "model.onnx", tmp_path / "moved.onnx")
    with pytest.raises(ConversionError, match="name it with --float"):
        compress.quantize_report(tmp_path / "moved.onnx")
    assert compress.quantize_report(tmp_path / "moved.onnx", run / "01-train" / "model.onnx", seconds=0.05).layers


def test_the_record_and_the_report_hold_the_same_table(run: Path) -> None:
    record = json.loads((run / "record.json").read_text())
    rows = record["stages"][1]["tables"]["layers_in_int8"]
    assert [row["module"] for row in rows] == [row["module"] for row in compress.quantize_report(run, seconds=0.05).layers]
    for page in ("report.md", "report.html"):
        text = (run / page).read_text(encoding="utf-8")
        assert "Layers in int8" in text
        assert "kept in float by keep_float" in text


def test_the_verb_prints_tables_or_json(run: Path) -> None:
    shown = CliRunner().invoke(app, ["quantize-report", str(run), "--seconds", "0.05"])
    assert shown.exit_code == 0, shown.output
    for words in ("why not int8", "QLinearConv", "isolated", "convolutions and products run in int8", "layers sum to"):
        assert words in shown.output
    as_json = CliRunner().invoke(app, ["quantize-report", str(run), "--seconds", "0.05", "--json"])
    found = json.loads(as_json.stdout)
    assert found["layers"][0]["after_ms"]["how"] == "measured"
    assert found["results"]["quantized_in_int8_ms"]["unit"] == "ms"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.onnx"], "nowhere.onnx does not exist"),
        (["{run}/01-train/model.onnx", "--float", "{run}/01-train/model.onnx"], "is not quantized"),
        (["{run}/01-train/record.json", "--float", "{run}/01-train/model.onnx"], "not an ONNX file"),
        (["{run}/02-quantize/model.onnx", "--float", "nowhere.onnx"], "cannot read nowhere.onnx"),
        (["{run}/01-train"], "no finished quantize stage"),
    ],
)
def test_wrong_input_says_what_is_wrong(run: Path, arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["quantize-report", *(each.format(run=run) for each in arguments)])
    assert isinstance(done.exception, CompressError)
    assert words in str(done.exception)


def test_a_run_whose_float_file_is_gone_says_so(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "02-quantize", tmp_path / "02-quantize")
    with pytest.raises(StoreError, match=r"made from is not in .*--float"):
        compress.quantize_report(tmp_path)
