from pathlib import Path

import onnx
import pytest

from compress.config.devices import host, load_device
from compress.core.errors import CompressError, ConversionError, DeviceError
from compress.core.progress import NullReporter
from compress.profile.profile_files import profile_files
from tests.profile.onnx_models import network


class Lines(NullReporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def line(self, text: str) -> None:
        self.said.append(text)


def test_files_are_measured_here_and_estimated_elsewhere(tiny, save):
    wide, reporter = save("wide.onnx", network(channels=32)), Lines()
    rows = profile_files([tiny, wide], [host(), load_device("jetson")], seconds=0.02, reporter=reporter)
    assert [(row.subject, row.device) for row in rows] == [
        ("tiny", "host"),
        ("wide", "host"),
        ("tiny", "jetson_orin_nano"),
        ("wide", "jetson_orin_nano"),
    ]
    here, there = rows[0].quantities, rows[2].quantities
    assert here["latency_p50_ms"].how == "measured"
    assert here["memory_bytes"].how == "measured"
    assert there["latency_p50_ms"].how == "estimated"
    assert there["memory_bytes"].how == there["power_w"].how == "not measured"
    assert here["size_bytes"] == there["size_bytes"]
    assert any("spinning off" in line for line in reporter.said)
    assert any("contract not met: 0.02 s a file instead of 2 s" in line for line in reporter.said)


def test_two_files_of_one_name_are_kept_apart(tiny, tmp_path):
    other = tmp_path / "other" / tiny.name
    other.parent.mkdir()
    other.write_bytes(tiny.read_bytes())
    rows = profile_files([tiny, other], [load_device("desktop_gpu")])
    assert [row.subject for row in rows] == [str(tiny), str(other)]


def test_bad_input_is_told(tiny, tmp_path, save):
    with pytest.raises(DeviceError, match="nothing to profile"):
        profile_files([], [host()])
    with pytest.raises(DeviceError, match="nothing to profile"):
        profile_files([tiny], [])
    with pytest.raises(CompressError, match="No such file"):
        profile_files([Path("nowhere.onnx")], [host()])
    with pytest.raises(DeviceError, match="unknown dimensions"):
        profile_files([save("free.onnx", network(shape=["n", 3, "h", "w"]))], [host()])


@pytest.mark.parametrize("device", ["host", "mobile_cpu", "jetson"])
def test_weights_that_are_missing_beside_the_file_are_told_on_every_device(device, tmp_path):
    path = tmp_path / "outside.onnx"
    onnx.save(network(channels=64), path, save_as_external_data=True, location="outside.bin", size_threshold=0)
    (tmp_path / "outside.bin").unlink()
    with pytest.raises(ConversionError, match="its external data is missing or outside its folder: keep"):
        profile_files([path], [load_device(device)], seconds=0.02)
