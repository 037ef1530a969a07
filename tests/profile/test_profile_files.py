from pathlib import Path

import onnx
import pytest

from compress.config.devices import host, load_device
from compress.core.errors import CompressError, ConversionError, DeviceError, SignatureError
from compress.core.progress import NullReporter
from compress.profile.input_shapes import parse_shapes
from compress.profile.latency.axis_sweep import draw_sweep
from compress.profile.profile_files import plan_files, profile_files, sweep_sizes
from tests.profile.onnx_models import lines_of_text, network, streaming, tokens


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
    assert "latency_ratio" not in here
    ratio = rows[1].quantities["latency_ratio"]
    assert ratio.low is not None
    assert ratio.low <= ratio.value <= ratio.high
    assert here["memory_bytes"].how == "measured"
    assert there["latency_p50_ms"].how == "estimated"
    assert there["memory_bytes"].how == there["power_w"].how == "not measured"
    assert here["size_bytes"] == there["size_bytes"]
    assert any("spinning off" in line for line in reporter.said)
    assert any("contract not met: 0.02 s per file instead of 2 s" in line for line in reporter.said)


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
    with pytest.raises(SignatureError, match="it runs at no typical size of its free axes"):
        profile_files([save("lines.onnx", lines_of_text(47))], [host()])


def test_any_inputs_are_measured_and_estimated_with_their_sizes_and_what_they_execute(save):
    paths = [save("tokens.onnx", tokens()), save("streaming.onnx", streaming())]
    rows = profile_files(paths, [host(), load_device("mobile_cpu")], seconds=0.02)
    by_subject = {(row.subject, row.device): row for row in rows}
    assert by_subject["tokens", "host"].inputs == "ids 1×128, mask 1×128 (sequence 128: typical, not given)"
    for device in ("host", "mobile_cpu"):
        assert by_subject["tokens", device].quantities["macs"].value == 128 * 4 * 4
        streamed = by_subject["streaming", device]
        assert "sr scalar" in streamed.inputs
        assert streamed.quantities["macs"].value == 512 * 4
        assert streamed.quantities["weights_bytes"].value == (512 + 256) * 4 * 4 + 2 * 8
    assert by_subject["streaming", "host"].quantities["memory_bytes"].how == "measured"
    assert by_subject["streaming", "mobile_cpu"].quantities["latency_p50_ms"].how == "estimated"


def test_each_file_takes_the_shapes_that_it_has_and_a_shape_of_none_is_refused(tiny, save):
    text = save("tokens.onnx", tokens())
    plans = plan_files([tiny, text], parse_shapes(["x:2x3x8x8", "ids:1x7"]))
    assert {name: plan.describe() for name, plan in plans.items()} == {"tiny": "x 2×3×8×8", "tokens": "ids 1×7, mask 1×7"}
    with pytest.raises(SignatureError, match="has no input 'pixels'; it has x: float32"):
        plan_files([tiny, text], parse_shapes(["pixels:1"]))


def test_a_range_of_sizes_is_swept_on_this_machine(save):
    path = save("streaming.onnx", streaming())
    inputs = plan_files([path], parse_shapes(["input:1x511..512", "state:2x1x4"]))
    rows, skipped = sweep_sizes(
        [path], [host(), load_device("mobile_cpu")], inputs, threads=1, seconds=0.02, reporter=NullReporter()
    )
    assert [(row["axis"], row["size"]) for row in rows] == [("input_axis1", 512)]
    failed, elsewhere = skipped
    assert (failed.code, failed.values["size"]) == ("profile.sweep_size_failed", 511)
    assert "control flow of its node 'by_rate' (If) does not run on inputs" in failed.values["error"]
    assert elsewhere.code == "profile.sweep_not_local"
    assert draw_sweep(rows).startswith(b"\x89PNG")


@pytest.mark.parametrize("device", ["host", "mobile_cpu", "jetson"])
def test_weights_that_are_missing_beside_the_file_are_told_on_every_device(device, tmp_path):
    path = tmp_path / "outside.onnx"
    onnx.save(network(channels=64), path, save_as_external_data=True, location="outside.bin", size_threshold=0)
    (tmp_path / "outside.bin").unlink()
    with pytest.raises(ConversionError, match="its external data is missing or outside its folder: keep"):
        profile_files([path], [load_device(device)], seconds=0.02)
