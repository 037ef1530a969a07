"""`compress gate`, `compress compare` and `compress card` as commands."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compress.cli.commands import app
from compress.core.checksums import hash_files, write_checksums

EXAMPLE = str(Path(__file__).parents[2] / "reports" / "example" / "record.json")


def run(*arguments: str):
    return CliRunner().invoke(app, [*arguments])


def test_the_gate_writes_what_it_is_asked_for_and_fails_by_exit_code(tmp_path: Path) -> None:
    budget = tmp_path / "budget.yaml"
    budget.write_text("size_mb: 0.001\n")
    files = [f"--{name}={tmp_path / name}" for name in ("summary", "junit", "sarif")]
    done = run("gate", EXAMPLE, "--budget", str(budget), "--github", *files)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[0].startswith("size: ")
    assert "::error title=" in done.stdout
    assert all((tmp_path / name).stat().st_size for name in ("summary", "junit", "sarif"))
    assert json.loads((tmp_path / "sarif").read_text())["version"] == "2.1.0"


def test_a_run_within_its_own_budget_passes() -> None:
    done = run("gate", EXAMPLE)
    assert done.exit_code == 0
    assert done.stdout.startswith("resnet50_to_mobilenet: 3 of 3 passed")


def test_the_gate_prints_its_verdict_as_json(tmp_path: Path) -> None:
    printed = json.loads(run("gate", EXAMPLE, "--json").stdout)
    assert printed["passed"] is True
    assert len(printed["findings"]) == 3
    budget = tmp_path / "budget.yaml"
    budget.write_text("size_mb: 0.001\n")
    done = run("gate", EXAMPLE, "--budget", str(budget), "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["passed"] is False


def test_a_record_without_checksums_is_named_as_unverified(tmp_path: Path) -> None:
    checked, unchecked = tmp_path / "checked", tmp_path / "unchecked"
    for folder in (checked, unchecked):
        folder.mkdir()
        shutil.copy(EXAMPLE, folder)
    write_checksums(checked, hash_files(checked, [checked / "record.json"]))
    assert "unverified" not in run("gate", str(checked)).output
    done = run("gate", str(checked), "--against", str(unchecked))
    assert done.exit_code == 0
    assert f"{unchecked / 'record.json'}: unverified" in done.stderr
    assert done.stderr.count("unverified") == 1
    assert "unverified" in run("gate", str(unchecked)).stderr
    assert "unverified" in run("report", str(unchecked)).stderr


def test_runs_are_compared_with_the_first_or_a_named_one(tmp_path: Path) -> None:
    done = run("compare", EXAMPLE, EXAMPLE, "--out", str(tmp_path / "comparison.md"))
    assert done.exit_code == 0
    assert "no difference shown" in done.stdout
    assert (tmp_path / "comparison.md").read_text(encoding="utf-8") == _markdown(tmp_path)


def _markdown(folder: Path) -> str:
    assert run("compare", EXAMPLE, "--baseline", EXAMPLE, "--out", str(folder / "other.md")).exit_code == 0
    return (folder / "other.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", EXAMPLE), "two or more"),
        (("gate", "nowhere"), "no record at"),
        (("gate", EXAMPLE, "--budget", "none.yaml"), "none.yaml"),
    ],
)
def test_what_cannot_be_judged_is_refused(arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)
    assert done.exit_code != 0
    assert words in str(done.exception)


@pytest.mark.parametrize("damage", [None, "changed", "missing", "without artifacts"])
def test_the_gate_refuses_a_run_whose_artifact_is_not_the_measured_one(tmp_path: Path, damage: str | None) -> None:
    (tmp_path / "record.json").write_bytes(Path(EXAMPLE).read_bytes())
    model = tmp_path / "artifacts" / "host" / "model.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"weights")
    write_checksums(tmp_path, hash_files(tmp_path, [model, tmp_path / "record.json"]))
    if damage == "changed":
        model.write_bytes(b"other weights")
    elif damage == "missing":
        model.unlink()
    elif damage:
        shutil.rmtree(tmp_path / "artifacts")
    done = run("gate", str(tmp_path))
    is_refused = damage in ("changed", "missing")
    assert (done.exit_code != 0) == is_refused
    assert ("model.onnx is missing or was changed" in str(done.exception)) == is_refused


def test_a_card_and_a_bill_are_written(tmp_path: Path) -> None:
    done = run("card", EXAMPLE, "--out", str(tmp_path / "card"), "--license", "MIT")
    assert done.exit_code == 0
    assert [Path(line).name for line in done.stdout.split()] == ["README.md", "bom.cdx.json"]
    assert "license: mit" in (tmp_path / "card" / "README.md").read_text(encoding="utf-8")
    assert "no record at" in str(run("card", str(tmp_path)).exception)
