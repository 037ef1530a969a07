from pathlib import Path

import pytest

from compress.profile.remote import agent_sensors
from compress.profile.remote.agent_sensors import clocks, cpu_name, idle_states


def test_clocks_and_names_as_the_kernel_tells_them(tmp_path):
    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    assert not set(clocks(tmp_path)) - {"power mode"}
    assert cpu_name(tmp_path) == ""
    write("proc/cpuinfo", "processor: 0\nmodel name : Cortex-A76\n")
    assert cpu_name(tmp_path) == "Cortex-A76"
    write("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    assert cpu_name(tmp_path) == "Raspberry Pi 5 Model B Rev 1.0"
    write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n")
    write("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1500000\n")
    write("sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "2400000\n")
    write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    write("sys/class/thermal/thermal_zone0/temp", "51800\n")
    write("sys/class/thermal/thermal_zone1/type", "gpu-thermal\n")
    write("sys/class/thermal/thermal_zone1/temp", "48000\n")
    assert idle_states(tmp_path) == ()
    for index, (name, latency, disabled) in enumerate((("POLL", 0, 0), ("C6", 133, 1))):
        state = f"sys/devices/system/cpu/cpu0/cpuidle/state{index}"
        write(f"{state}/name", f"{name}\n")
        write(f"{state}/latency", f"{latency}\n")
        write(f"{state}/disable", f"{disabled}\n")
    assert idle_states(tmp_path) == ("POLL 0 µs", "C6 133 µs (disabled)")
    seen = clocks(tmp_path)
    assert seen["governor"] == "ondemand"
    assert seen["cpu0 clock"] == "1500 of 2400 MHz"
    assert seen["hottest"] == "cpu-thermal 52 °C"


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 9B14\nmodel name\t: another\n", "AMD EPYC 9B14"),
        ("processor\t: 0\nHardware\t: BCM2711\n", "BCM2711"),
        ("Model\t\t: Raspberry Pi 4 Model B: Rev 1.4\n", "Raspberry Pi 4 Model B: Rev 1.4"),
        ("processor\t: 0\n", ""),
    ],
)
def test_the_processor_is_the_first_name_of_cpuinfo(tmp_path, cpuinfo, expected):
    write(tmp_path, "proc/cpuinfo", cpuinfo)
    assert cpu_name(tmp_path) == expected


def test_the_hottest_zone_is_reported_below_zero_too_and_odd_readings_are_left_out(tmp_path):
    for index, (name, value) in enumerate((("cold", "-5000"), ("broken", "n/a"), ("colder", "-9000"))):
        write(tmp_path, f"sys/class/thermal/thermal_zone{index}/type", f"{name}\n")
        write(tmp_path, f"sys/class/thermal/thermal_zone{index}/temp", f"{value}\n")
    assert clocks(tmp_path)["hottest"] == "cold -5 °C"


def test_a_clock_without_its_maximum_is_left_out(tmp_path):
    write(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1500000\n")
    assert "cpu0 clock" not in clocks(tmp_path)


def test_the_power_mode_is_that_of_nvpmodel(tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "nvpmodel"
    write(tmp_path, "bin/nvpmodel", "#!/bin/sh\necho 'NV Fan Mode:quiet'\necho 'NV Power Mode: MAXN_SUPER'\necho 2\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    assert clocks(tmp_path / "none") == {"power mode": "MAXN_SUPER"}
    monkeypatch.setattr(agent_sensors.shutil, "which", lambda _: None)
    assert clocks(tmp_path / "none") == {}
