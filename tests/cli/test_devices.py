"""`compress devices`, in real processes."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from compress.cli import app
from compress.config.devices import load_device
from compress.core.errors import DeviceError
from compress.profile.remote import detected_profile
from tests.cli.run_process import compress, process
from tests.profile.remote.test_detected_profile import FACTS


def test_an_unknown_device_profile_offers_the_nearest():
    done = compress("devices", "show", "jetson_orin_nan")
    assert done.returncode == 2
    assert "jetson_orin_nano" in done.stderr


def test_a_new_device_is_written_once_and_its_gaps_are_told_by_line(tmp_path: Path):
    made = compress("devices", "new", "my_board", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "devices" / "my_board.yaml").is_file()
    again = compress("devices", "new", "my_board", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert "already exists and was not changed" in again.stderr
    checked = compress("devices", "check", "my_board", cwd=tmp_path)
    assert checked.returncode == 2
    lines = (tmp_path / "devices" / "my_board.yaml").read_text().splitlines()
    line = next(index for index, text in enumerate(lines, 1) if text.startswith("    value: <clock"))
    assert f"line {line}: peaks.fp32_gflops.value" in checked.stderr
    assert "Traceback" not in checked.stderr


def test_a_device_is_checked_without_torch_and_one_out_of_reach_is_no_fault():
    done = compress("devices", "check", "jetson")
    assert done.returncode == 0, done.stderr
    assert "not connected: estimated" in done.stdout
    checks = "import sys; from compress.cli import app; app(['devices', 'check', 'host'], standalone_mode=False)"
    code = f"{checks}; print('torch' in sys.modules)"
    assert process(code=code).stdout.strip().endswith("False")


def test_only_this_machine_is_calibrated():
    done = compress("devices", "calibrate", "jetson")
    assert done.returncode == 2
    assert "is not this machine" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_board_that_ssh_reaches_needs_nothing_filled_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(detected_profile, "inspect_device", lambda _: FACTS)
    monkeypatch.chdir(tmp_path)
    command = ["devices", "new", "my_board", "--ssh", "pi@edge-1.local", "--ssh-python", "~/py"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert load_device("devices/my_board.yaml").connection.model_dump()["ssh"] == "pi@edge-1.local"
    again = CliRunner().invoke(app, command)
    assert isinstance(again.exception, DeviceError)
    assert "already exists" in str(again.exception)
