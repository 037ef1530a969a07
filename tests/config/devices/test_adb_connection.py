import pytest
from pydantic import ValidationError

from compress.config.devices import load_device
from compress.config.devices.adb_connection import Adb
from compress.core.errors import DeviceError
from tests.config.devices.test_connection import PROFILE


@pytest.fixture
def load(tmp_path):
    def read(connection):
        (tmp_path / "my_board.yaml").write_text(PROFILE.format(connection=connection))
        return load_device("my_board.yaml", tmp_path)

    return read


def test_a_phone_needs_no_figures_for_estimates_and_its_program_tells_the_runtime(load):
    device = load("{adb: R58M123, benchmark: /data/local/tmp/benchmark_model}")
    assert device.connection == Adb(adb="R58M123", benchmark="/data/local/tmp/benchmark_model")
    assert device.connection.runtime == "litert"
    assert load("{adb: any}").connection.runtime == "onnxruntime"
    assert type(device).model_validate_json(device.model_dump_json()) == device


@pytest.mark.parametrize("serial", ["any", "emulator-5554", "192.168.1.7:5555", "R58M123", "adb-R58-x._adb-tls-connect._tcp"])
def test_serial_numbers(serial):
    assert Adb(adb=serial).adb == serial


@pytest.mark.parametrize("serial", ["", "-s", "a b", "a;b", "$(id)", "a\n"])
def test_serial_numbers_that_adb_or_a_shell_could_take_for_something_else(serial):
    with pytest.raises(ValidationError):
        Adb(adb=serial)


@pytest.mark.parametrize(
    ("connection", "match"),
    [
        ("{adb: any, benchmark: benchmark_model}", r"connection\.benchmark"),
        ("{adb: any, benchmark: /data/local/tmp/bench}", "must contain benchmark_model"),
        ("{adb: any, port: 22}", r"connection\.port"),
    ],
)
def test_faults_are_told(load, connection, match):
    with pytest.raises(DeviceError, match=match):
        load(connection)
