import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import ValidationError

from compress.config.devices import host
from compress.config.devices.profile_schema import MeasurementProtocol
from compress.core.errors import DeviceError
from compress.core.registry import lookup, names
from compress.profile.power import Sensor, open_sensors
from compress.profile.power.battery import Battery
from compress.profile.power.jetson_ina3221 import Ina3221, board_rails, rails
from compress.profile.power.jetson_tegrastats import Tegrastats, parse
from compress.profile.power.nvml import Nvml, device_handle
from compress.profile.power.rapl import Rapl
from compress.profile.settings import sensor_targets

LIMIT = 1_000_000


def write(path: Path, text: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")
    return path


def package(root: Path, number: int = 0, energy: int = 0) -> Path:
    folder = root / f"intel-rapl:{number}"
    write(folder / "max_energy_range_uj", LIMIT - 1)
    (root / f"intel-rapl:{number}:0").mkdir()  # a part of the package; counting it too would count twice
    return write(folder / "energy_uj", energy)


def test_profiles_name_sensors_that_exist():
    assert MeasurementProtocol(sensors=names("power_sensor")).sensors == names("power_sensor")
    device = host().model_copy(update={"contract": MeasurementProtocol(sensors=("ina3221", "rapl"))})
    assert [sensor.name for sensor in open_sensors(sensor_targets(device))] == ["INA3221", "RAPL"]
    with pytest.raises(ValidationError, match="'rapl', 'ina3221'"):
        MeasurementProtocol(sensors=("voltmeter",))


def test_rapl_says_why_it_is_missing(tmp_path, monkeypatch):
    assert "does not exist" in (Rapl(tmp_path / "none").available() or "")
    assert "no intel-rapl package" in (Rapl(tmp_path).available() or "")
    package(tmp_path)
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "not readable by this user" in (Rapl(tmp_path).available() or "")


def test_rapl_adds_packages_and_survives_a_wrap_around(tmp_path):
    files = [package(tmp_path, 0, LIMIT - 100), package(tmp_path, 1, 50)]
    sensor = Rapl(tmp_path)
    assert sensor.available() is None
    assert sensor.measures().startswith("2 processor packages")
    sensor.start()
    write(files[0], 400)
    assert sensor.read() == pytest.approx(500e-6)
    write(files[1], 150)
    assert sensor.read() == pytest.approx(600e-6)


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
    assert "gives 0" in (Nvml().available() or "")
    assert library.opened == 0


def test_nvml_without_driver_gpu_or_package_is_said(library, monkeypatch):
    def fail(*_: object) -> None:
        raise NVMLError("Driver Not Loaded")

    library.nvmlDeviceGetHandleByIndex = fail
    assert "no NVIDIA GPU is visible" in (Nvml().available() or "")
    assert library.opened == 0
    library.nvmlInit = fail
    assert "no NVIDIA driver answers (Driver Not Loaded)" in (Nvml().available() or "")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "not installed" in (Nvml().available() or "")


def test_nvml_looks_at_the_gpu_that_cuda_uses(library, monkeypatch):
    for value, expected in (("2,0", ("index", 2)), ("GPU-8f", ("uuid", "GPU-8f")), ("", ("index", 0))):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert device_handle(library) == expected


def hwmon(root: Path, channels: dict[str, tuple[int, int]], number: int = 3) -> Path:
    folder = root / f"sys/bus/i2c/drivers/ina3221/1-004{number % 2}/hwmon/hwmon{number}"
    for channel, (label, (millivolts, milliamperes)) in enumerate(channels.items(), start=1):
        write(folder / f"in{channel}_label", label)
        write(folder / f"in{channel}_input", millivolts)
        write(folder / f"curr{channel}_input", milliamperes)
    write(folder / "in7_label", "sum of shunt voltages")
    return folder


def test_the_input_rail_is_used_and_the_others_are_not_added(tmp_path):
    hwmon(tmp_path, {"VDD_IN": (5_000, 1_200), "VDD_CPU_GPU_CV": (5_000, 200), "VDD_SOC": (5_000, 300)})
    sensor = Ina3221(tmp_path)
    assert sensor.available() is None
    assert sensor.read() == pytest.approx(6.0)
    assert sensor.measures() == "rail VDD_IN, the input of the whole module"


def test_supplies_of_an_agx_module_are_added_without_counting_twice(tmp_path):
    hwmon(tmp_path, {"VDD_GPU_SOC": (20_000, 100), "VDD_CPU_CV": (20_000, 50), "VIN_SYS_5V0": (5_000, 400)})
    hwmon(tmp_path, {"NC": (0, 0), "VDDQ_VDD2_1V8AO": (5_000, 100)}, number=4)
    assert set(rails(tmp_path)) == {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"}
    sensor = Ina3221(tmp_path)
    assert sensor.available() is None
    assert sensor.read() == pytest.approx(2.0 + 1.0 + 2.0)
    assert "carrier board is not in it" in sensor.measures()


def test_monitors_of_older_releases_are_read(tmp_path):
    folder = tmp_path / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    for channel, (label, milliwatts) in enumerate({"POM_5V_IN": 2_340, "POM_5V_GPU": 80, "POM_5V_CPU": 300}.items()):
        write(folder / f"rail_name_{channel}", label)
        write(folder / f"in_power{channel}_input", milliwatts)
    sensor = Ina3221(tmp_path)
    assert sensor.available() is None
    assert sensor.read() == pytest.approx(2.34)


def test_rails_that_do_not_tell_the_board_count_as_missing(tmp_path):
    assert "no INA3221 monitor" in (Ina3221(tmp_path).available() or "")
    folder = hwmon(tmp_path, {"VDD_SOC": (5_000, 300), "VDD_CPU": (5_000, 300)})
    assert "their sum is not its power" in (Ina3221(tmp_path).available() or "")
    write(folder / "in1_label", "VDD_IN")
    write(folder / "curr1_input", 0)
    assert "reads 0 W" in (Ina3221(tmp_path).available() or "")
    write(folder / "curr1_input", "nonsense")
    assert "cannot be read" in (Ina3221(tmp_path).available() or "")


ORIN = (
    "11-21-2025 08:49:48 RAM 2448/7620MB (lfb 1x4MB) SWAP 0/3810MB (cached 0MB) CPU [9%@729,off,8%@729] GR3D_FREQ 0%@[0] "
    "cpu@48.2C tj@50.1C VDD_IN 4568mW/4571mW VDD_CPU_GPU_CV 481mW/480mW VDD_SOC 1443mW/1440mW"
)


def test_lines_of_tegrastats_are_understood():
    assert parse(ORIN) == pytest.approx({"VDD_IN": 4.568, "VDD_CPU_GPU_CV": 0.481, "VDD_SOC": 1.443})
    older = "RAM 1/2MB IRAM 0/252kB(lfb 252kB) CPU [1%@102] POM_5V_IN 2340/2341 POM_5V_GPU 80/82 POM_5V_CPU 3/4"
    assert parse(older) == pytest.approx({"POM_5V_IN": 2.34, "POM_5V_GPU": 0.08, "POM_5V_CPU": 0.003})
    xavier = "GPU 0/0 CPU 1102/1101 SOC 1102/1102 CV 0/0 VDDRQ 367/367 SYS5V 1489/1489"
    assert len(board_rails(parse(xavier))) == 6
    assert parse("RAM 2448/7620MB (lfb 1x4MB) EMC_FREQ 0%") == {}


@pytest.fixture
def tegrastats(tmp_path: Path) -> Iterator[Tegrastats]:
    made: list[Tegrastats] = []

    def make(script: str) -> Tegrastats:
        path = tmp_path / f"tegrastats{len(made)}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        made.append(Tegrastats(str(path)))
        return made[-1]

    yield make
    for sensor in made:
        sensor.stop()


def test_tegrastats_is_read_while_it_runs(tegrastats):
    sensor = tegrastats(f"while true; do echo '{ORIN}'; sleep 0.05; done")
    assert sensor.available() is None
    sensor.start()
    assert sensor.read() == pytest.approx(4.568)
    assert "VDD_IN" in sensor.measures()
    process = sensor._process
    sensor.stop()
    assert process.poll() is not None


def test_tegrastats_that_ends_or_tells_nothing_is_said(tegrastats, monkeypatch):
    assert "no `nowhere` on the path" in (Tegrastats("nowhere").available() or "")
    assert "printed no rails" in (tegrastats("echo RAM 1/2MB").available() or "")
    assert "none of which feeds the whole board" in (tegrastats("echo VDD_SOC 5mW/5mW; sleep 5").available() or "")
    sensor = tegrastats(f"echo '{ORIN}'; read stopped; exit 3")
    sensor.start()
    sensor._process.wait(10)  # no terminal to read from: it ends
    with pytest.raises(DeviceError, match="ended with"):
        sensor.read()


def supply(root: Path, name: str = "BAT0", **entries: object) -> Path:
    for key, value in ({"type": "Battery", "status": "Discharging"} | entries).items():
        write(root / name / key, value)
    return root / name


def test_the_battery_gauge_is_read_in_both_its_forms(tmp_path):
    supply(tmp_path, power_now=7_500_000)
    supply(tmp_path, "battery", voltage_now=4_000_000, current_now=-500_000)
    supply(tmp_path, "AC", type="Mains")
    supply(tmp_path, "mouse", scope="Device", power_now=1)
    sensor = Battery(tmp_path)
    assert sensor.available() is None
    assert sensor.read() == pytest.approx(7.5 + 2.0)
    assert "BAT0, battery" in sensor.measures()


def test_a_battery_on_the_charger_counts_as_missing(tmp_path):
    assert "no battery" in (Battery(tmp_path / "none").available() or "")
    folder = supply(tmp_path, power_now=7_500_000, status="Charging")
    assert "BAT0 is Charging: unplug the charger" in (Battery(tmp_path).available() or "")
    write(folder / "status", "Discharging")
    write(folder / "power_now", 0)
    assert "reads 0 W" in (Battery(tmp_path).available() or "")


@pytest.mark.parametrize("name", names("power_sensor"))
def test_every_sensor_gives_a_reason_or_a_reading(name):
    sensor: Sensor = lookup("power_sensor", name).load()()
    reason = sensor.available()
    if reason is None:
        sensor.start()
        assert sensor.read() >= 0
    else:
        assert len(reason) > 10
    sensor.stop()
