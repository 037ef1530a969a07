from __future__ import annotations

from pathlib import Path

import pytest

from compress.config.devices import load_device
from compress.quantize.target_requirements import needs_7bit_weights, runtimes_to_build, score_batch
from tests.export.tiny import Target

JETSON = Target("jetson", "tensorrt")


def test_families_follow_the_targets() -> None:
    assert runtimes_to_build(()) == ("onnxruntime",)
    assert runtimes_to_build((JETSON, Target("host", "onnxruntime"))) == ("onnxruntime", "tensorrt")


@pytest.mark.parametrize(("flags", "expected"), [("avx2 avx512_vnni", False), ("avx2 avx_vnni", False), ("avx2", True)])
def test_saturation_is_read_off_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, expected: bool) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    (tmp_path / "cpuinfo").write_text(f"processor: 0\nflags\t\t: fpu {flags}\n")
    assert needs_7bit_weights(tmp_path / "cpuinfo") is expected


def test_arm_does_not_saturate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert needs_7bit_weights(tmp_path / "none") is False


def test_dynamic_ranges_are_scored_with_the_batch_that_ships() -> None:
    here = load_device("host")
    batch = here.contract.batch
    assert score_batch("dynamic_int8", (), 64) == 1
    assert score_batch("dynamic_int8", (here,), 64) == batch
    assert score_batch("int8", (here,), 64) == 64
