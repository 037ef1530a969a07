from pathlib import Path

import pytest

from compress.config.devices import load_device
from compress.core.errors import DeviceError
from compress.profile.remote import detected_profile as module
from compress.profile.remote.detected_profile import detected_profile, profile_name
from compress.profile.remote.inspect_device import DeviceFacts

FACTS = DeviceFacts(
    host="pi@edge-1.local", architecture="aarch64", system="Linux 6.6", cpu="Raspberry Pi 5 Model B Rev 1.0", processors=4,
    python="3.11.2", free_bytes=1, onnxruntime="1.22.0", providers=(), no_onnxruntime="", tensorrt="", no_trtexec="none",
    power="", no_power="none", clocks={},
)  # fmt: skip


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "inspect_device", lambda _: FACTS)


def test_a_name_is_made_of_the_host() -> None:
    assert [profile_name(host) for host in ("pi@edge-1.local", "10.0.0.7", "Board")] == ["edge_1_local", "10_0_0_7", "board"]


def test_a_profile_is_written_once_from_what_the_machine_reports(facts: None, tmp_path: Path) -> None:
    device, path = detected_profile("pi@edge-1.local", python="~/edge/bin/python3", folder=tmp_path)
    assert path == tmp_path / "edge_1_local.yaml"
    assert (device.title, device.identifies_as) == (FACTS.cpu, (FACTS.cpu,))
    assert device.connection.ssh == "pi@edge-1.local"  # type: ignore[union-attr]
    assert load_device(str(path)) == device
    text = path.read_text(encoding="utf-8")
    assert "aarch64, 4 processors, ONNX Runtime 1.22.0" in text
    path.write_text(text.replace("seconds: 10.0", "seconds: 20.0"), encoding="utf-8")
    again, _ = detected_profile("pi@edge-1.local", folder=tmp_path)
    assert again.contract.seconds == 20.0
    with pytest.raises(DeviceError, match="is the profile of another connection"):
        detected_profile("root@edge-1.local", folder=tmp_path)


def test_a_profile_may_have_a_name_of_its_own(facts: None, tmp_path: Path) -> None:
    device, path = detected_profile("pi@edge-1.local", folder=tmp_path, name="my_board")
    assert (device.name, path.name) == ("my_board", "my_board.yaml")
    assert "devices check my_board" in path.read_text(encoding="utf-8")


def test_a_machine_with_trtexec_alone_gets_the_number_formats_of_tensorrt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = {**vars(FACTS), "onnxruntime": "", "tensorrt": "10.3.0"}
    monkeypatch.setattr(module, "inspect_device", lambda _: DeviceFacts(**values))
    device, _ = detected_profile("jetson", folder=tmp_path)
    assert (device.kind, device.runtime, device.precision.symmetric_activations) == ("gpu", "tensorrt", True)


def test_without_a_runtime_the_install_line_is_told_and_nothing_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = {**vars(FACTS), "onnxruntime": "", "no_onnxruntime": "No module named 'numpy'"}
    monkeypatch.setattr(module, "inspect_device", lambda _: DeviceFacts(**values))
    with pytest.raises(DeviceError, match=r"No module named 'numpy'. Install one there: ~/py -m pip install numpy onnxruntime"):
        detected_profile("pi", python="~/py", folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "x;y"])
def test_a_host_that_is_an_option_or_a_command_is_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="is no SSH host"):
        detected_profile(host, folder=tmp_path)
