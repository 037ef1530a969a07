import pytest

from compress.config.devices import host, load_device
from compress.config.devices.connection import Ssh
from compress.core.errors import DeviceError
from compress.profile.cost_model import calibration_file as calibration
from compress.profile.cost_model.calibration_file import Accuracy, Calibration, MachineLoad, Rates
from compress.profile.device_check import check_device, reachable
from compress.profile.remote import inspect_device


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path))


def lines(device):
    return {line.what: line for line in check_device(device)}


def keep(**changed):
    machine = host().hardware
    fields = {
        "device": "host", "cpu": machine.cpu, "instruction_sets": machine.instruction_sets,
        "runtime": calibration.runtime(), "threads": 1, "created": "2026-01-02 03:04 UTC", "seconds": 9.0,
        "rates": {"other float": Rates(overhead_ns=1.0, operation_ns=0.0, element_ns=0.0)},
        "accuracy": Accuracy(mean=0.071, low=0.9, high=1.2, networks=100),
    }  # fmt: skip
    calibration.save(Calibration(**fields | changed), calibration.default_path("host"))


def test_this_machine_is_reached_and_its_runtime_is_there():
    found = lines(host())
    assert found["reach"].met
    assert host().hardware.cpu in found["reach"].text
    assert found["runtime"].met
    assert "onnxruntime" in found["runtime"].text
    assert found["clocks"].text
    assert found["power sensor"].met in (True, False)
    assert found["power sensor"].text
    assert reachable(check_device(host()))


def test_runtimes_that_would_be_tried_are_told_and_none_of_them_is_needed():
    device = host().model_copy(update={"runtimes": ("onnxruntime:cpu", "onnxruntime:qnn")})
    found = [line for line in check_device(device) if line.what == "also tried"]
    assert [line.met for line in found] == [True, False]
    assert "CPUExecutionProvider" in found[0].text
    assert "onnxruntime-qnn" in found[1].text
    assert reachable(check_device(device))


def test_a_device_that_is_not_at_hand_is_estimated():
    device = load_device("jetson_orin_nano_8gb")
    found = lines(device)
    assert "estimated" in found["reach"].text
    assert "assumed" in found["runtime"].text
    assert found["figures"].met is None
    assert found["calibration"].text == "none"
    assert reachable(check_device(device))


def test_the_contract_says_which_percentiles_its_runs_do_not_support():
    short = host().model_copy(update={"contract": host().contract.model_copy(update={"min_runs": 10, "power_mode": "MAXN"})})
    found = lines(short)
    assert "p99 needs" in found["contract"].text
    assert "at least 10 runs" in found["contract"].text
    assert "MAXN" in found["power mode"].text


def test_a_runtime_that_is_missing_makes_it_unreachable(monkeypatch):
    monkeypatch.setenv("PATH", "")
    device = host().model_copy(update={"runtime": "tensorrt"})
    if lines(device)["runtime"].met:
        pytest.skip("TensorRT is installed here")
    assert "pip install tensorrt" in lines(device)["runtime"].text
    assert not reachable(check_device(device))


def test_never_calibrated():
    line = lines(host())["calibration"]
    assert line.met is None
    assert "compress devices calibrate host" in line.text


def test_calibrated():
    keep()
    line = lines(host())["calibration"]
    assert line.met
    assert "mean error 7.1% in cross-validation over 100 architectures" in line.text


def test_a_calibration_made_under_load_is_not_met():
    keep(load=MachineLoad(spread=0.4, processor_share=0.95))
    line = lines(host())["calibration"]
    assert line.met is False
    assert "not idle" in line.text
    assert "compress devices calibrate host" in line.text


def test_a_calibration_of_another_runtime_does_not_hold():
    keep(runtime="onnxruntime 1.0.0")
    line = lines(host())["calibration"]
    assert line.met is False
    assert "is not valid" in line.text
    assert "onnxruntime 1.0.0" in line.text
    assert reachable(check_device(host()))


def test_a_calibration_that_cannot_be_read_is_told():
    calibration.default_path("host").parent.mkdir(parents=True)
    calibration.default_path("host").write_text("{")
    assert lines(host())["calibration"].met is False


class Answering:
    """Stands for a session over SSH, for what a device answers."""

    facts = {  # noqa: RUF012
        "cpu": "Cortex-A76", "architecture": "aarch64", "system": "Linux 6.6", "processors": 4, "python": "3.11.2",
        "free_bytes": 10**9,
    }  # fmt: skip

    def __init__(self, device):
        self.device = device

    def __enter__(self):
        return self

    def __exit__(self, *fault):
        return None

    def work(self, order):
        assert order["job"] == "inspect"
        return {
            "onnxruntime": "1.30.0", "clocks": {"governor": "performance"}, "power": "", "no_power": "hwmon: no rail found",
        }  # fmt: skip


def test_a_device_over_ssh_is_asked_through_one_connection(monkeypatch):
    monkeypatch.setattr(inspect_device, "RemoteSession", Answering)
    found = lines(host().model_copy(update={"connection": Ssh(ssh="board"), "hardware": None}))
    assert found["reach"].text == "board: Cortex-A76, Linux 6.6"
    assert found["runtime"].text == "onnxruntime 1.30.0"
    assert found["clocks"].met
    assert found["power sensor"].met is False
    assert found["power sensor"].text == "hwmon: no rail found"


def test_other_hardware_than_the_profile_describes_is_a_fault(monkeypatch):
    monkeypatch.setattr(inspect_device, "RemoteSession", Answering)
    changes = {
        "connection": Ssh(ssh="board"),
        "hardware": None,
        "title": "Raspberry Pi 5",
        "identifies_as": ("Raspberry Pi 5",),
    }
    found = lines(host().model_copy(update=changes))
    assert found["hardware"].met is False
    assert "but the device is Cortex-A76" in found["hardware"].text


def test_a_device_over_ssh_that_is_not_reached_is_said_to_be_so(monkeypatch):
    class Silent(Answering):
        def __enter__(self):
            msg = "board: connection refused"
            raise DeviceError(msg)

    monkeypatch.setattr(inspect_device, "RemoteSession", Silent)
    device = host().model_copy(update={"connection": Ssh(ssh="board"), "hardware": None})
    assert lines(device)["reach"].text == "board: connection refused"
    assert not reachable(check_device(device))
