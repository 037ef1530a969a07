from pathlib import Path

import pytest

from compress.profile.power.jetson_ina3221 import INPUTS, MODULES, Ina3221, board_rails, rails
from tests.profile.power.sysfs import write


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
    assert "carrier board not included" in sensor.measures()


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


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_rail_alone_is_the_board(name):
    assert board_rails([name, "VDD_SOC", "VDD_CPU"]) == (name,)
    assert board_rails([name, *MODULES[0]]) == (name,)


@pytest.mark.parametrize("module", MODULES)
def test_supplies_of_a_module_count_only_together(module):
    assert board_rails([*module, "OTHER"]) == module
    for left_out in module:
        assert board_rails([name for name in module if name != left_out]) == ()


def test_a_channel_without_a_label_or_a_current_is_no_rail(tmp_path):
    folder = hwmon(tmp_path, {"VDD_IN": (5_000, 100), "sum of shunt voltages": (1, 1)})
    write(folder / "in3_label", "VDD_SOC")
    assert set(rails(tmp_path)) == {"VDD_IN"}
