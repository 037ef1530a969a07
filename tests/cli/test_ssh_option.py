from pathlib import Path

import pytest

from compress.cli.ssh_option import chosen_profiles
from compress.config.devices import load_device
from compress.profile.remote import detected_profile as module


def test_the_profile_of_a_host_takes_the_place_of_the_default_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    board = load_device("raspberry_pi_5")
    asked = []

    def detected(host: str, *, python: str | None) -> tuple[object, Path]:
        asked.append((host, python))
        return board, Path("devices/board.yaml")

    monkeypatch.setattr(module, "detected_profile", detected)
    assert [device.name for device in chosen_profiles("host", None, None)] == ["host"]
    assert chosen_profiles("host", "pi@board", "~/py") == [board]
    assert asked == [("pi@board", "~/py")]
    assert "profile of pi@board: devices/board.yaml" in capsys.readouterr().err
    assert [device.name for device in chosen_profiles("mobile_cpu", "pi@board", None)] == [board.name, "mobile_cpu"]
