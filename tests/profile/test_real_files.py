"""Files that other makers ship: the folder COMPRESS_CASES holds them, in folders of their packages; nothing of it is here."""

import os
from pathlib import Path

import pytest

from compress.config.devices import host, load_device
from compress.profile.layers import layer_times
from compress.profile.profile_files import plan_files, profile_files

FOLDER = os.environ.get("COMPRESS_CASES", "")
FILES = sorted(Path(FOLDER).rglob("*.onnx")) if FOLDER else []
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not FOLDER, reason="COMPRESS_CASES names no folder of files")]
MACS = {"silero_vad.onnx": 258 * 256 * 3 + 128 * 387 * 3 + 64 * 384 * 2 + 64 * 192 + 128 * 192 + 1024 * 128 + 128}
"""Multiply-accumulates by hand, from the layers of the branch for 16 kHz at 512 samples."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_profiles_with_true_sizes_and_a_count_or_a_reason(path):
    inputs = plan_files([path])
    here, there = profile_files([path], [host(), load_device("mobile_cpu")], seconds=0.1, inputs=inputs)
    assert here.inputs
    weights, macs = here.quantities["weights_bytes"].value, here.quantities["macs"]
    assert 0.7 * path.stat().st_size < weights <= path.stat().st_size
    assert macs.value or "no formula" in macs.detail
    assert macs.value == MACS.get(path.name, macs.value)
    assert here.quantities["memory_bytes"].how == "measured"
    assert there.quantities["latency_p50_ms"].how == "estimated"
    feeds = {name: plan.feeds() for name, plan in inputs.items()}
    (times,) = layer_times.measure({path.stem: path}, feeds, seconds=0.05).values()
    assert len(times.kernels) > 1
    assert "If" not in {kernel.operator for kernel in times.kernels}
