"""Clocks, temperature, power mode and processor name from Linux; runs on the device with the standard library only."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path("/")


def clocks(root: Path = ROOT) -> dict[str, str]:
    """Readings by name, as text: `governor`, `cpu0 clock`, `hottest`, `power mode`, `idle states`; only available ones."""
    cpu = root / "sys/devices/system/cpu/cpu0/cpufreq"
    zones = [(_text(zone / "type"), _text(zone / "temp")) for zone in sorted(root.glob("sys/class/thermal/thermal_zone*"))]
    hot = max(((int(value), name) for name, value in zones if value.lstrip("-").isdigit()), default=None)
    now, most = _text(cpu / "scaling_cur_freq"), _text(cpu / "scaling_max_freq")
    readings = {
        "governor": _text(cpu / "scaling_governor"),
        "cpu0 clock": f"{int(now) // 1000} of {int(most) // 1000} MHz" if now.isdigit() and most.isdigit() else "",
        "hottest": f"{hot[1]} {hot[0] / 1000:.0f} °C" if hot else "",
        "power mode": _mode(),
        "idle states": ", ".join(idle_states(root)),
    }
    return {name: value for name, value in readings.items() if value}


def idle_states(root: Path = ROOT) -> tuple[str, ...]:
    """Idle states of the first processor with their exit latency, such as `C6 133 µs`; empty where they cannot be read."""
    states = []
    for folder in sorted(root.glob("sys/devices/system/cpu/cpu0/cpuidle/state*")):
        name, latency, disabled = (_text(folder / file) for file in ("name", "latency", "disable"))
        states.append(f"{name} {latency} µs{' (disabled)' if disabled == '1' else ''}")
    return tuple(states)


def cpu_name(root: Path = ROOT) -> str:
    """Name of the board, else of the processor; empty if the device reports neither."""
    board = _text(root / "proc/device-tree/model").strip("\0")
    lines = _text(root / "proc/cpuinfo").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model", "Hardware"))]
    return board or (names[0] if names else "")


def _mode() -> str:
    if shutil.which("nvpmodel") is None:
        return ""
    done = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S607
    match = re.search(r"NV Power Mode: *(\S+)", done.stdout)
    return match[1] if match else ""


def _text(path: Path) -> str:
    """Stripped content of a file; empty if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
