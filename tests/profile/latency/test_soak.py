import mmap
import time

import pytest

from compress.core.errors import CompressError, DeviceError
from compress.profile.latency.machine_sensors import MachineSensors
from compress.profile.latency.soak import soak, soak_file


def test_a_soak_lasts_as_long_as_told_and_counts_every_run(tmp_path):
    calls = []

    def action():
        calls.append(1)
        time.sleep(0.02 if len(calls) == 200 else 0.0005)

    found = soak(action, 0.6, sensors=MachineSensors(tmp_path), resident=lambda: 1000)
    assert 0.6 <= found.seconds < 5
    assert 1 < len(found.windows) <= 12
    assert found.runs < len(calls)  # the warm-up is not counted
    assert [window.second for window in found.windows] == sorted(window.second for window in found.windows)
    assert sum(window.outliers for window in found.windows) >= 1
    assert set(found.missing) == {"clock", "temperature", "throttles"}


def test_a_real_file_is_soaked(tiny):
    found = soak_file(tiny, 0.3)
    quantities = found.quantities()
    assert quantities["soak_latency_max_ms"].value >= found.windows[0].median_ms
    assert "ONNX Runtime" in quantities["soak_outliers"].detail
    for name in ("soak_latency_drift", "soak_memory_growth"):
        assert quantities[name].how == "measured"


def test_a_soak_of_nothing_is_refused(tiny, tmp_path):
    with pytest.raises(DeviceError, match="more than 0 s"):
        soak_file(tiny, 0)
    with pytest.raises(CompressError, match="no such file"):
        soak_file(tmp_path / "nowhere.onnx", 1)


def test_a_real_leak_is_found():
    kept, block = [], b"\1" * 500_000

    def leak():
        pages = mmap.mmap(-1, len(block))  # new pages: the heap of a long process has free ones, which are resident already
        pages.write(block)
        kept.append(pages)
        time.sleep(0.004)

    found = soak(leak, 0.8)
    assert found.quantities()["soak_memory_growth"].low > 0
    assert "profile.soak_leak" in {note.code for note in found.notes()}
