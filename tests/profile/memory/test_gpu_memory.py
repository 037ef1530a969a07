import sys
import threading
import time
from types import ModuleType, SimpleNamespace

import pytest

from compress.profile.memory import gpu_memory
from compress.profile.memory.gpu_memory import GpuPeak, watch_gpu_memory

MEGABYTE = 1_000_000


class NVMLError(Exception):
    pass


@pytest.fixture
def gpu(monkeypatch):
    board = SimpleNamespace(used=10 * MEGABYTE, processes=[], opened=0)

    def count(by):
        board.opened += by

    def used(_handle):
        return SimpleNamespace(used=board.used)

    fake = ModuleType("pynvml")
    vars(fake).update(
        NVMLError=NVMLError,
        nvmlInit=lambda: count(1),
        nvmlShutdown=lambda: count(-1),
        nvmlDeviceGetHandleByIndex=lambda _: "handle",
        nvmlDeviceGetMemoryInfo=used,
        nvmlDeviceGetComputeRunningProcesses=lambda _: board.processes,
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr(gpu_memory, "RATE_HZ", 500.0)
    board.library = fake
    return board


def test_the_peak_on_the_gpu_is_the_processes_own(gpu):
    with watch_gpu_memory(7) as found:
        for size in (5, 90, 20):
            gpu.processes = [SimpleNamespace(pid=7, usedGpuMemory=size * MEGABYTE), SimpleNamespace(pid=8, usedGpuMemory=1)]
            time.sleep(0.1)
    quantity = found.quantity()
    assert quantity.value == 90 * MEGABYTE
    assert "of the process" in quantity.detail


def test_where_processes_are_hidden_the_board_is_watched(gpu):
    gpu.processes = [SimpleNamespace(pid=7, usedGpuMemory=None)]
    with watch_gpu_memory(7) as found:
        time.sleep(0.06)
        gpu.used += 30 * MEGABYTE
        time.sleep(0.1)
    assert found.quantity().value == 30 * MEGABYTE
    assert "whole board" in found.quantity().detail


def test_a_gpu_that_tells_nothing_or_stops_is_said(gpu):
    with watch_gpu_memory(7) as found:
        time.sleep(0.05)
    assert found.quantity().how == "not measured"

    def fail(_):
        raise NVMLError("GPU is lost")

    gpu.library.nvmlDeviceGetMemoryInfo = fail
    with watch_gpu_memory(7) as found:
        time.sleep(0.05)
    assert "GPU is lost" in found.quantity().detail
    with watch_gpu_memory(7, enabled=False) as found:
        pass
    assert found.readings == 0


def test_the_library_is_closed_and_the_thread_ended_also_after_an_error(gpu):
    threads = threading.active_count()
    with watch_gpu_memory(7):
        assert gpu.opened == 1
    assert gpu.opened == 0
    with pytest.raises(RuntimeError), watch_gpu_memory(7):
        raise RuntimeError
    assert gpu.opened == 0
    assert threading.active_count() == threads


@pytest.mark.parametrize("package", [None, "without a driver"])
def test_a_machine_without_a_gpu_has_a_reason(gpu, monkeypatch, package):
    def fail():
        raise NVMLError("Driver Not Loaded")

    gpu.library.nvmlInit = fail
    if package is None:
        monkeypatch.setitem(sys.modules, "pynvml", None)
    with watch_gpu_memory(7) as peak:
        pass
    quantity = peak.quantity()
    assert quantity.how == "not measured"
    assert ("not installed" if package is None else "Driver Not Loaded") in quantity.detail


def test_a_process_that_is_not_listed_uses_no_memory_and_a_hidden_one_an_unknown_amount(gpu):
    mine, hidden = SimpleNamespace(pid=7, usedGpuMemory=5), SimpleNamespace(pid=7, usedGpuMemory=None)
    other = SimpleNamespace(pid=8, usedGpuMemory=3)
    for listed, expected in (([mine, other], 5), ([hidden, other], None), ([other], None), ([], 0)):
        gpu.processes = listed
        assert gpu_memory._process_bytes(gpu.library, "handle", 7) == expected


def test_a_peak_without_a_reading_is_no_measurement():
    assert GpuPeak().quantity().how == "not measured"
    assert GpuPeak(peak=5, reason="it stopped").quantity().how == "not measured"
    assert GpuPeak(peak=5, readings=2).quantity().value == 5
