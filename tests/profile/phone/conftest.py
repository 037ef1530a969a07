"""A stand-in for `adb`: a script on PATH that answers from files. No phone was used in any test."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from compress.config.devices import Device, load_device

LITERT = """\
INFO: Loaded model
INFO: count=3 first=23515 curr=20038 min=19946 max=23515 avg=21166 std=1661 p5=19946 median=20038 p95=23515
INFO: count=25 first=18753 curr=14099 min=14007 max=19512 avg=14552.8 std=1358 p5=14054 median=14125 p95=18753
INFO: Inference timings in us: Init: 92318, First inference: 235158, Warmup (avg): 211669, Inference (avg): 14552.8
INFO: Memory footprint delta from the start of the tool (MB): init=54.2852 overall=73.4102
"""
ONNXRUNTIME = """\
Setting intra_op_num_threads to 1
Session creation time cost: 0.217932 s
First inference time cost: 196 ms
Total inference time cost: 1.97924 s
Total inference requests: 200
Average inference time cost total: 9.896199 ms
Number of inferences per second: 101.04
Peak working set size: 271122432 bytes
Min Latency: 0.00958204 s
Max Latency: 0.0131519 s
P50 Latency: 0.00975086 s
P90 Latency: 0.0101519 s
P95 Latency: 0.0111519 s
P99 Latency: 0.0121519 s
P999 Latency: 0.0131519 s
"""
BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  Charge counter: 3270000
  status: 2
  level: 81
  scale: 100
  voltage: 4352
  temperature: 274
  technology: Li-ion
[EventLogBuffer]
  level: 72
"""
GETPROP = """\
[ro.build.version.release]: [15]
[ro.product.manufacturer]: [Google]
[ro.product.model]: [Pixel 8]
[ro.soc.manufacturer]: [Google]
[ro.soc.model]: [Tensor G3]
"""
ZONES = "BIG 45200\nLITTLE 41000\nusb 0\nunused -273000\n"
DF = """\
Filesystem     1K-blocks     Used Available Use% Mounted on
/dev/block/dm-5 112000000 12000000 100000000 11% /data
"""
SCRIPT = """\
#!{python} -S
import os, shlex, sys
folder = {folder!r}
def answer(name, default=""):
    try:
        return open(os.path.join(folder, name)).read()
    except OSError:
        return default
arguments = sys.argv[1:]
with open(os.path.join(folder, "log"), "a") as log:
    log.write(repr(arguments) + "\\n")
if arguments == ["devices"]:
    sys.stdout.write(answer("devices"))
    sys.exit(0)
assert arguments[0] == "-s"
failure = answer("gone")
if failure:
    sys.stderr.write(failure)
    sys.exit(1)
command = arguments[2:]
if command[0] == "push":
    sys.stderr.write(answer("push"))
    sys.exit(1 if answer("push") else 0)
words = shlex.split(command[1])
name = os.path.basename(words[2] if words[0] == "env" else words[0])
if name == "test":
    sys.exit(1 if answer("missing" + words[1]) else 0)
sys.stdout.write(answer("zones" if words[0] == "for" else name))
sys.exit(int(answer(name + ".code", "0")))
"""
PROFILE = """name: my_phone
title: My phone
kind: cpu
runtime: onnxruntime
connection: {connection}
precision: {{floats: fp32, activations: uint8, symmetric_activations: false, source: "the runtime's manual"}}
contract: {{seconds: 0.6, min_runs: 30, warmup_seconds: 0.1, percentiles: [50, 90, 99], arrivals_per_s: 20}}
"""


class StandIn:
    """Answers of the stand-in, and the commands that it was given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        texts = {
            "devices": "* daemon started successfully\nList of devices attached\nR58M123\tdevice\n\n",
            "benchmark_model": LITERT,
            "onnxruntime_perf_test": ONNXRUNTIME,
            "dumpsys": BATTERY,
            "getprop": GETPROP,
            "zones": ZONES,
            "uname": "aarch64\n",
            "df": DF,
            "cat": "Charging\n-350000\n4100000\n",
        }
        for name, text in texts.items():
            self.says(name, text)

    def says(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def commands(self) -> list[list[str]]:
        log = self.folder / "log"
        return [eval(line) for line in log.read_text().splitlines()] if log.exists() else []  # noqa: S307  # our own script's log

    def shells(self) -> list[str]:
        return [command[3] for command in self.commands() if command[2:3] == ["shell"]]

    def pushed(self) -> list[str]:
        return [command[4] for command in self.commands() if command[2:3] == ["push"]]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    programs, answers = tmp_path / "bin", tmp_path / "answers"
    programs.mkdir()
    answers.mkdir()
    script = programs / "adb"
    script.write_text(SCRIPT.format(python=sys.executable, folder=str(answers)))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return StandIn(answers)


@pytest.fixture
def device(tmp_path: Path) -> Callable[..., Device]:
    def load(connection: str = "{adb: any}", **changes: object) -> Device:
        (tmp_path / "my_phone.yaml").write_text(PROFILE.format(connection=connection))
        return load_device("my_phone.yaml", tmp_path).model_copy(update=changes)

    return load
