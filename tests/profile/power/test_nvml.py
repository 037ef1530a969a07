import sys
from types import ModuleType

import pytest

from compress.core.errors import DeviceError
from compress.profile.power.nvml import Nvml, device_handle


class NVMLError(Exception):
    pass


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    fake = ModuleType("pynvml")
    fake.opened = 0

    def opened(by: int) -> None:
        fake.opened += by

    def unsupported(_handle: object) -> int:
        raise NVMLError("Not Supported")

    fake.NVMLError = NVMLError
    fake.nvmlInit = lambda: opened(1)
    fake.nvmlShutdown = lambda: opened(-1)
    fake.nvmlDeviceGetHandleByIndex = lambda index: ("index", index)
    fake.nvmlDeviceGetHandleByUUID = lambda uuid: ("uuid", uuid)
    fake.nvmlDeviceGetName = lambda _: b"NVIDIA Test 1"
    fake.nvmlDeviceGetTotalEnergyConsumption = unsupported
    fake.nvmlDeviceGetPowerUsage = unsupported
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_nvml_prefers_the_energy_counter(library):
    library.nvmlDeviceGetTotalEnergyConsumption = lambda _: 5_000
    sensor = Nvml()
    assert sensor.available() is None
    assert sensor.counts
    assert sensor.read() == pytest.approx(5.0)
    assert "NVIDIA Test 1" in sensor.measures()
    assert "counter" in sensor.measures()
    sensor.stop()
    sensor.stop()
    assert library.opened == 0


def test_nvml_falls_back_to_power(library):
    library.nvmlDeviceGetPowerUsage = lambda _: 42_500
    sensor = Nvml()
    assert sensor.available() is None
    assert not sensor.counts
    assert sensor.read() == pytest.approx(42.5)


def test_nvml_of_a_jetson_counts_as_missing(library):
    reason = Nvml().available() or ""
    assert reason.count("Not Supported") == 2
    library.nvmlDeviceGetPowerUsage = library.nvmlDeviceGetTotalEnergyConsumption = lambda _: 0
    assert "returns 0" in (Nvml().available() or "")
    assert library.opened == 0


def test_nvml_without_driver_gpu_or_package_is_said(library, monkeypatch):
    def fail(*_: object) -> None:
        raise NVMLError("Driver Not Loaded")

    library.nvmlDeviceGetHandleByIndex = fail
    assert "no NVIDIA GPU is visible" in (Nvml().available() or "")
    assert library.opened == 0
    library.nvmlInit = fail
    assert "the NVIDIA driver is not available (Driver Not Loaded)" in (Nvml().available() or "")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "not installed" in (Nvml().available() or "")


def test_nvml_looks_at_the_gpu_that_cuda_uses(library, monkeypatch):
    for value, expected in (("2,0", ("index", 2)), ("GPU-8f", ("uuid", "GPU-8f")), ("", ("index", 0))):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert device_handle(library) == expected


def test_a_reading_needs_an_open_library(library):
    library.nvmlDeviceGetPowerUsage = lambda _: 1
    with pytest.raises(DeviceError, match="NVML is not open"):
        Nvml().read()
    sensor = Nvml(counts=False)
    sensor.start()
    sensor.start()
    assert library.opened == 1
    assert sensor.read() == pytest.approx(0.001)
    sensor.stop()
    with pytest.raises(DeviceError, match="NVML is not open"):
        sensor.read()


def test_a_gpu_that_is_lost_is_an_error_of_the_reading(library):
    library.nvmlDeviceGetPowerUsage = lambda _: 1000
    sensor = Nvml()
    assert sensor.available() is None

    def lost(_handle):
        raise NVMLError("GPU is lost")

    library.nvmlDeviceGetPowerUsage = lost
    with pytest.raises(DeviceError, match="GPU is lost"):
        sensor.read()
