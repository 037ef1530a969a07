import json
from pathlib import Path

from typer.testing import CliRunner

from compress.cli import app
from tests.backends.converted.files import write_int8


def test_the_rows_are_printed_as_json_or_as_a_table(tmp_path: Path) -> None:
    int8 = write_int8(tmp_path)
    arguments = ["benchmark", str(tmp_path / "float.onnx"), str(int8), "--runtimes", "onnxruntime,ort", "--seconds", "0.1"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0
    rows = json.loads(result.stdout)["runtimes"]
    assert {(row["subject"], row["runtime"]) for row in rows} == {
        (name, runtime) for name in ("float", "int8") for runtime in ("onnxruntime", "ort")
    }
    assert sum(row["fastest"] for row in rows) == 1
    shown = CliRunner().invoke(app, arguments).stdout
    assert "timed in turns" in shown
    assert "energy not measured" in shown
    assert "▸" in shown


def test_an_unknown_runtime_is_told_with_the_nearest(tmp_path: Path) -> None:
    write_int8(tmp_path)
    result = CliRunner().invoke(app, ["benchmark", str(tmp_path / "float.onnx"), "--runtimes", "litertt"])
    assert result.exit_code != 0
    assert "litert" in str(result.exception)
