import pytest
from pydantic import ValidationError

from compress.config.devices import host
from compress.config.devices.profile_schema import MeasurementProtocol
from compress.core.registry import lookup, names
from compress.profile.power import Sensor, first_available, open_sensors
from compress.profile.power.base import number_in, text_in
from compress.profile.settings import sensor_targets


def test_profiles_name_sensors_that_exist():
    assert MeasurementProtocol(sensors=names("power_sensor")).sensors == names("power_sensor")
    device = host().model_copy(update={"contract": MeasurementProtocol(sensors=("ina3221", "rapl"))})
    assert [sensor.name for sensor in open_sensors(sensor_targets(device))] == ["INA3221", "RAPL"]
    with pytest.raises(ValidationError, match="'rapl', 'ina3221'"):
        MeasurementProtocol(sensors=("voltmeter",))


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


class FakeSensor:
    def __init__(self, name, reason):
        self.name, self.reason = name, reason

    def available(self):
        return self.reason


def test_the_first_sensor_without_a_reason_is_used_and_else_every_reason_is_given():
    missing, other, good = FakeSensor("a", "no driver"), FakeSensor("b", "no access"), FakeSensor("c", None)
    assert first_available([missing, good, other]) == (good, "")
    assert first_available([missing, other]) == (None, "a: no driver; b: no access")
    assert first_available([]) == (None, "")


@pytest.mark.parametrize(("text", "number"), [("12", 12), (" -5\n", -5), ("0\n", 0)])
def test_numbers_of_the_kernel_are_integers(tmp_path, text, number):
    file = tmp_path / "value"
    file.write_text(text)
    assert number_in(file) == number
    assert text_in(file) == text.strip()


@pytest.mark.parametrize("data", [b"", b"12 mW", b"\xff\xfe", b"1.5"])
def test_other_contents_are_errors(tmp_path, data):
    file = tmp_path / "value"
    file.write_bytes(data)
    with pytest.raises(ValueError):  # noqa: PT011
        number_in(file)


def test_a_file_that_cannot_be_read_is_an_error_for_a_number_and_empty_for_a_text(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        number_in(tmp_path / "none")
    assert text_in(tmp_path / "none") == ""
