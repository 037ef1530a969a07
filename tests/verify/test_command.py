"""`compress verify` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from compress.cli import app
from compress.core.errors import CompressError


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def test_figures_are_shown_with_what_they_do_not_say(model: Path, bench: Path) -> None:
    done = run(model, "--samples", "3")
    assert done.exit_code == 0, done.output
    assert "100.00 %" in done.output
    assert "3 samples of noise" in done.output
    assert "latency cannot be measured under emulation" in done.output


def test_json_is_all_that_is_printed(model: Path) -> None:
    done = run(model, "--isa", "native", "--samples", "2", "--json")
    assert json.loads(done.stdout)["quantities"]["top1_agreement"]["value"] == 1.0


def test_disagreement_ends_with_1(model: Path, bench: Path) -> None:
    from tests.verify.stand_ins import emulator

    python = (bench / "cache/aarch64/root/usr/bin/python3.11").resolve()
    code = "import sys,numpy as n; p=sys.argv[1]; n.save(p,-n.load(p))"
    emulator(bench, f'shift 5\n{python} -c "{code}" "$6"\nexec {python} "$@"')
    assert run(model).exit_code == 1
    assert run(model, "--agreement", "0").exit_code == 0


def test_nothing_to_do_and_wrong_input_are_told(tmp_path: Path) -> None:
    assert run().exit_code == 2
    assert "--setup aarch64" in run().output
    assert isinstance(run(tmp_path / "missing.onnx").exception, CompressError)
    assert isinstance(run("--setup", "mips").exception, CompressError)


@pytest.mark.parametrize("option", ["--setup", "--data", "--images", "--processor", "--samples"])
def test_help_names_every_option(option: str) -> None:
    assert option in run("--help").output
