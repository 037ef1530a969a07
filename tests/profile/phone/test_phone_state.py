import pytest

from compress.core.errors import DeviceError
from compress.profile.phone.phone_state import PhoneGauge, parse_battery, parse_zones, read_facts, read_state
from compress.profile.phone.session import PhoneSession
from tests.profile.phone.conftest import BATTERY, ZONES


def test_model_processor_and_storage(stand_in, device):
    with PhoneSession(device()) as phone:
        facts = read_facts(phone)
    assert str(facts.hardware) == "Google Pixel 8, Google Tensor G3"
    assert facts.hardware.architecture == "aarch64"
    assert (facts.android, facts.free_bytes) == ("15", 100_000_000 * 1024)


def test_battery_and_warmest_zone(stand_in, device):
    with PhoneSession(device()) as phone:
        state = read_state(phone)
        assert not state.discharging
        assert state.words() == (
            "battery 81 %",
            "charging",
            "4.35 V",
            "battery at 27.4 °C",
            "zone BIG at 45.2 °C, the warmest",
        )
        for name in ("dumpsys", "zones", "getprop", "df"):
            stand_in.says(name, "Permission denied\n")
        assert read_state(phone).words() == ()
        facts = read_facts(phone)
    assert (str(facts.hardware), facts.free_bytes) == ("aarch64", None)


def test_logs_after_the_fields_and_unused_zones_do_not_count():
    assert parse_battery(BATTERY)["level"] == "81"
    assert parse_zones(ZONES) == {"BIG": 45.2, "LITTLE": 41.0}


def test_power_is_read_only_while_the_battery_discharges(stand_in, device):
    with PhoneSession(device()) as phone:
        gauge = PhoneGauge(phone)
        assert "the battery is Charging" in str(gauge.available())
        stand_in.says("cat", "Discharging\n-350000\n4100000\n")
        assert gauge.available() is None
        assert gauge.read() == pytest.approx(0.35 * 4.1)
        stand_in.says("cat", "Discharging\n-350\n4100000\n")
        assert "no current in µA" in str(gauge.available())
        stand_in.says("cat", "cat: /sys: Permission denied\n")
        stand_in.says("cat.code", "1")
        with pytest.raises(DeviceError, match="Permission denied"):
            gauge.read()
