import pytest

from compress.profile.latency.machine_sensors import MachineSensors


def test_vitals_are_read_from_the_kernels_files(tmp_path):
    def write(name: str, text: object) -> None:
        path = tmp_path / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    cpu = "devices/system/cpu"
    write(f"{cpu}/cpu0/cpufreq/scaling_cur_freq", 800_000)
    write(f"{cpu}/cpu1/cpufreq/scaling_cur_freq", 2_400_000)
    write("class/thermal/thermal_zone0/temp", 51_500)
    write("class/thermal/thermal_zone1/temp", "asleep")
    for number in (0, 1):
        write(f"{cpu}/cpu{number}/thermal_throttle/core_throttle_count", 2)
    vitals = MachineSensors(tmp_path)
    assert vitals.clock_mhz() == pytest.approx(2400)
    assert vitals.temperature_c() == pytest.approx(51.5)
    assert vitals.throttles() == 4
    assert vitals.missing() == {}
