import pytest

from compress.profile.device_check import check_device, reachable
from compress.profile.phone.phone_check import check_phone


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path))


def lines(device):
    return {line.what: line for line in check_phone(device)}


def test_a_phone_with_its_program(stand_in, device):
    found = lines(device())
    assert found["reach"].text == "R58M123: Google Pixel 8, Google Tensor G3, Android 15, 102.4 GB free"
    assert found["runtime"] == ("runtime", True, "ONNX Runtime by /data/local/tmp/onnxruntime_perf_test")
    assert "stand-in for adb only" in found["untried"].text
    assert found["clocks"].met is None
    assert found["power sensor"].met is False
    assert reachable(check_device(device()))
    assert not any(line.startswith(("mkdir", "rm")) for line in stand_in.shells())


def test_a_warm_phone_on_its_battery_without_the_program(stand_in, device):
    stand_in.says("dumpsys", "Current Battery Service state:\n  status: 3\n  temperature: 421\n")
    stand_in.says("cat", "Discharging\n-350000\n4100000\n")
    stand_in.says("missing-e", "1")
    found = lines(device("{adb: any, benchmark: /data/local/tmp/benchmark_model}", identifies_as=("Pixel 9",)))
    assert found["clocks"].met is False
    assert "let it cool down" in found["clocks"].text
    assert found["power sensor"].met
    assert "adb push benchmark_model /data/local/tmp/benchmark_model" in found["runtime"].text
    assert "limits will fail" in found["hardware"].text
    assert not reachable(check_device(device("{adb: any, benchmark: /data/local/tmp/benchmark_model}")))


def test_a_phone_that_is_not_reached(stand_in, device):
    stand_in.says("devices", "List of devices attached\n")
    assert [line.what for line in check_phone(device())] == ["reach"]
    assert not reachable(check_device(device()))
