from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from compress.core.errors import BusyError, DeviceError, StoreError
from compress.verify import machines, setup
from compress.verify.cross_isa import verify
from compress.verify.verification_samples import VerificationSamples

VERSION = metadata.version("onnxruntime")


class Tools:
    """Stand-ins for apt, dpkg-deb, pip and the emulator: they leave files as the real ones do."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.calls: list[str] = []

    def __call__(self, command: Sequence[str], what: str, *, folder: Path, network: bool = False) -> None:  # noqa: ARG002
        self.calls.append(what)
        if self.broken and self.broken in what:
            raise DeviceError(what)
        if "download" in command and "apt-get" in command:
            for name in command[command.index("download") + 1 :]:
                (folder / f"{name}_1_arm64.deb").write_text(name)
        elif "download" in command:
            for name in ("numpy", "onnxruntime"):
                with zipfile.ZipFile(folder / f"{name}-1-cp311.whl", "w") as wheel:
                    wheel.writestr(f"{name}/__init__.py", "")
        elif command[0] == "dpkg-deb":
            (Path(command[-1]) / "usr").mkdir(exist_ok=True)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(setup, "KEYRING", Path(sys.executable))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return tmp_path / "cache" / "aarch64"


@pytest.fixture
def install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Tools]:
    def use(broken: str = "") -> Tools:
        tools = Tools(broken)
        monkeypatch.setattr(setup, "_call", tools)
        return tools

    return use


def test_machine_appears_whole_and_only_once(cache: Path, install: Any) -> None:
    tools = install()
    assert setup.set_up() == cache
    facts = json.loads((cache / "ready.json").read_text())
    assert facts["onnxruntime"] == VERSION
    assert len(facts["sha256"]) == len(setup.PACKAGES) + 2
    assert (cache / "root" / "site" / "onnxruntime").is_dir()
    assert (cache / "machines" / "cortex-a76" / "usr").resolve() == (cache / "root" / "usr").resolve()
    assert sorted(path.name for path in cache.parent.iterdir()) == ["aarch64", "aarch64.lock"]
    count = len(tools.calls)
    setup.set_up()
    assert len(tools.calls) == count


@pytest.mark.parametrize("broken", ["Debian", "wheels", "unpacking", "starting"])
def test_failure_leaves_no_machine_and_the_next_attempt_goes_on(cache: Path, install: Any, broken: str) -> None:
    install(broken)
    with pytest.raises(DeviceError, match=broken):
        setup.set_up()
    assert not cache.exists()
    with pytest.raises(DeviceError, match="compress verify --setup aarch64"):
        machines.aarch64()
    if broken != "Debian":
        assert list((cache.parent / "aarch64.partial" / "debs").iterdir())
    install()
    setup.set_up()
    assert machines.installed_version(cache) == VERSION


def test_other_version_of_the_runtime_is_told_and_replaced(cache: Path, install: Any) -> None:
    install()
    setup.set_up()
    (cache / "ready.json").write_text(json.dumps({"onnxruntime": "0.1"}))
    with pytest.raises(DeviceError, match=rf"with ONNX Runtime 0\.1, but this machine has {VERSION}"):
        machines.aarch64()
    setup.set_up()
    assert machines.installed_version(cache) == VERSION


def test_second_setup_is_kept_out(cache: Path, install: Any) -> None:
    install()
    cache.parent.mkdir()
    with FileLock(cache.with_name("aarch64.lock")), pytest.raises(BusyError, match="another process"):
        setup.set_up()


def test_unwritable_cache_names_the_way_out(tmp_path: Path, install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="COMPRESS_CACHE"):
        setup.set_up()


@pytest.mark.parametrize(
    ("missing", "said"),
    [("qemu-aarch64", "apt-get install qemu-user-static"), ("apt-get", "needs apt-get"), ("dpkg-deb", "needs dpkg-deb")],
)
def test_missing_tools_are_named(cache: Path, monkeypatch: pytest.MonkeyPatch, missing: str, said: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name.startswith(missing) else f"/usr/bin/{name}")
    with pytest.raises(DeviceError, match=said):
        setup.set_up()
    assert not cache.parent.exists()


def test_missing_keyring_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(setup, "KEYRING", tmp_path / "missing.gpg")
    with pytest.raises(DeviceError, match="debian-archive-keyring"):
        setup.set_up()


def test_other_instruction_sets_need_no_setup() -> None:
    with pytest.raises(DeviceError, match="only aarch64 needs a setup"):
        setup.set_up("mips")


def test_failed_tool_is_quoted_with_its_errors(tmp_path: Path) -> None:
    command = ("sh", "-c", "echo 'W: old' >&2; echo 'E: Failed to fetch http://deb.debian.org' >&2; exit 100")
    with pytest.raises(DeviceError, match=r"getting it failed: E: Failed to fetch .*; check the network") as error:
        setup._call(command, "getting it", folder=tmp_path, network=True)
    assert "W: old" not in str(error.value)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("processor", sorted(machines.PROCESSORS))
def test_real_emulator_answers_as_this_machine(model: Path, inputs: np.ndarray, processor: str) -> None:
    """Sets itself up in the user's cache, from the network, the first time."""
    if shutil.which("qemu-aarch64-static") is None or shutil.which("apt-get") is None:
        pytest.skip("needs qemu and apt: apt-get install qemu-user-static debian-archive-keyring")
    setup.set_up()
    result = verify(model, VerificationSamples(inputs), processor=processor)
    assert result.top1 == 1.0
    assert result.quantities["max_abs"].value < 1e-4
