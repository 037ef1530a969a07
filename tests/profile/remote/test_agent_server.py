"""The agent's own code, run here without SSH."""

import ast
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from compress.config.devices.connection import Ssh
from compress.core.record import Quantity
from compress.profile.remote import ssh
from compress.profile.remote.agent_bootstrap import MARK
from compress.profile.remote.agent_record import Quantity as Light
from compress.profile.remote.agent_sensors import clocks, cpu_name, idle_states
from compress.profile.remote.agent_zip import agent, loader
from compress.profile.remote.jobs import build_arguments, time_arguments
from compress.profile.remote.trtexec import version

BLOCKED = """
import sys
for name in ("pydantic", "torch", "onnx", "yaml", "rich", "scipy", "psutil", "onnxscript", "sklearn"):
    sys.modules[name] = None
"""


def talk(workdir: Path, *orders: bytes) -> list[dict]:
    code, package = loader(), agent()
    header = {"size": len(package), "sha256": hashlib.sha256(package).hexdigest(), "workdir": str(workdir), "lease_s": 60}
    sent = b"%d\n" % len(code) + code + json.dumps(header).encode() + b"\n" + package + b"".join(orders)
    done = subprocess.run([sys.executable, "-c", ssh.START], input=sent, capture_output=True, check=True)
    return [json.loads(line.removeprefix(MARK)) for line in done.stdout.decode().splitlines()]


def put(name: str, data: bytes, digest: str | None = None) -> bytes:
    order = {"do": "put", "name": name, "size": len(data), "sha256": digest or hashlib.sha256(data).hexdigest()}
    return json.dumps(order).encode() + b"\n" + data


def test_files_arrive_are_checked_and_vanish(tmp_path):
    said = talk(tmp_path, put("a/b", b"x" * 100_000), put("c", b"y", digest="0"), put("d", b""))
    assert [next(iter(message)) for message in said] == ["hello", "put", "error", "put", "gone"]
    assert said[2] == {"error": "hash", "text": "c"}
    assert said[-1] == {"gone": True}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "."])
def test_nothing_is_written_outside_the_folder(tmp_path, name):
    said = talk(tmp_path, put(name, b"x"), put("inside", b"y"))
    assert said[1]["error"] == "put"
    assert said[2] == {"put": "inside"}
    assert list(tmp_path.iterdir()) == []


def test_a_message_cut_short_ends_it(tmp_path):
    said = talk(tmp_path, put("a", b"x" * 1000)[:-10])
    assert [next(iter(message)) for message in said] == ["hello", "gone"]
    assert list(tmp_path.iterdir()) == []


def test_the_bundle_needs_numpy_and_the_runtime_only(tmp_path):
    (tmp_path / "agent.pyz").write_bytes(agent())
    names = [name for name in zipfile.ZipFile(io.BytesIO(agent())).namelist() if name.startswith("compress")]
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names]
    code = f"{BLOCKED}\nsys.path[:0] = [{str(tmp_path / 'agent.pyz')!r}]\n" + "\n".join(f"import {name}" for name in modules)
    code += "\nimport compress; assert 'agent.pyz' in compress.core.errors.__file__"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_bundle_is_the_same_file_each_time_and_python_3_10():
    first = agent()
    agent.cache_clear()
    assert agent() == first
    archive = zipfile.ZipFile(io.BytesIO(first))
    for name in archive.namelist():
        ast.parse(archive.read(name), name, feature_version=(3, 10))
    ast.parse(loader(), feature_version=(3, 7))


def test_the_light_record_has_the_fields_of_the_real_one():
    assert list(vars(Light.missing("W", "why"))) == list(Quantity.model_fields)
    for made, real in (
        (
            Light.measured(1.0, "W", "how", interval=(0.5, 2.0), runs=3),
            Quantity.measured(1.0, "W", "how", interval=(0.5, 2.0), runs=3),
        ),
        (Light.missing("W", "why"), Quantity.missing("W", "why")),
    ):
        assert Quantity(**vars(made)) == real


@pytest.mark.parametrize("given", ["/opt/a b/python'3", "~/my venv/bin/python", "python3; rm -rf /", "$HOME/`id`"])
def test_paths_reach_the_shell_there_as_they_are(given):
    done = subprocess.run(
        ["sh", "-c", f"printf %s {ssh.path(given)}"], capture_output=True, text=True, env={"HOME": "/h o"}, check=True
    )
    assert done.stdout == (given if not given.startswith("~/") else "/h o/" + given[2:])


def test_the_command_never_asks_and_never_takes_a_host_for_an_option():
    command = ssh.command(Ssh(ssh="board", port=2200, options=("User=pi",)), "true")
    assert command[:3] == ["ssh", "-p", "2200"]
    assert {"BatchMode=yes", "ServerAliveInterval=5", "ConnectTimeout=10", "ForwardAgent=no", "User=pi"} <= set(command)
    assert command[-3:] == ["--", "board", "sh -c true"]


def test_trtexec_arguments_name_free_sizes_only():
    fixed = build_arguments("m.onnx", {})
    assert not any("Shapes" in argument for argument in fixed)
    free = build_arguments("m.onnx", {"x": (1, 3, 8, 8), "y": (1, 2)})
    assert "--maxShapes=x:1x3x8x8,y:1x2" in free
    timed = time_arguments("m.onnx", {}, {"x": "inputs/0.bin"}, {"seconds": 60.0, "warmup_seconds": 1.0})
    assert {"--loadEngine=m.onnx.engine", "--loadInputs=x:inputs/0.bin", "--duration=10", "--warmUp=1000"} <= set(timed)


@pytest.mark.parametrize(
    ("printed", "expected"), [("v8502", "8.5.2"), ("v100300", "10.3.0"), ("v101303", "10.13.3"), ("v", "of unknown version")]
)
def test_versions_of_tensorrt(program, printed, expected):
    assert (
        version(program("trtexec", f'#!/bin/sh\necho "&&&& RUNNING TensorRT.trtexec [TensorRT {printed}] # trtexec --help"\n'))
        == expected
    )


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
