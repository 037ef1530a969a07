"""Machines that the agent can run on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from compress.core.errors import DeviceError
from compress.verify import machines


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("COMPRESS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert machines.cache_folder() == tmp_path / "compress" / "aarch64"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert machines.cache_folder() == tmp_path / ".cache" / "compress" / "aarch64"
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "own"))
    assert machines.cache_folder() == tmp_path / "own" / "aarch64"


def test_native_is_this_python_in_a_process_of_its_own() -> None:
    machine = machines.native()
    assert machine.command == (sys.executable, "-I")
    assert not machine.emulated


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_setup_that_is_not_whole_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / machines.READY).write_text(text)
    assert machines.installed_version(tmp_path) is None


def test_each_processor_has_its_own_description_and_shares_the_programs(tmp_path: Path) -> None:
    (tmp_path / "root" / "usr").mkdir(parents=True)
    machines.link_roots(tmp_path)
    for name, processor in machines.PROCESSORS.items():
        root = tmp_path / "machines" / name
        assert (root / "usr").resolve() == (tmp_path / "root" / "usr").resolve()
        description = (root / "proc" / "cpuinfo").read_text()
        assert processor.part in description
        assert processor.features in description


def test_an_emulator_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="apt-get install qemu-user-static"):
        machines.emulator()
