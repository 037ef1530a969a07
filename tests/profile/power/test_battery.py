from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.core.errors import DeviceError
from compress.profile.power.battery import Battery
from tests.profile.power.sysfs import write


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


@given(st.integers(1, 20_000_000), st.integers(-5_000_000, 5_000_000))
def test_power_is_voltage_times_current_whatever_the_sign(tmp_path_factory, microvolts, microamperes):
    root = tmp_path_factory.mktemp("power_supply")
    supply(root, voltage_now=microvolts, current_now=microamperes)
    sensor = Battery(root)
    sensor.available()
    assert sensor.read() == pytest.approx(abs(microvolts * microamperes) * 1e-12)


def test_only_batteries_that_discharge_count(tmp_path):
    supply(tmp_path, "BAT0", power_now=3_000_000)
    second = supply(tmp_path, "BAT1", power_now=4_000_000, status="Full")
    sensor = Battery(tmp_path)
    assert sensor.available() is None
    assert sensor.read() == pytest.approx(3.0)
    write(second / "status", "Discharging")
    assert sensor.read() == pytest.approx(7.0)
    for name in ("BAT0", "BAT1"):
        write(tmp_path / name / "status", "Charging")
    with pytest.raises(DeviceError, match="BAT0 is Charging, BAT1 is Charging: unplug the charger"):
        sensor.read()
