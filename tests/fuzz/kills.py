"""Kills a run at random moments of every stage, resumes it, and compares its bytes with those of an uninterrupted run.

The runs are forked from a process that has imported the libraries, so that a kill costs no import. Moments are counted in CPU
time of the run, so that they fall into the stage that was meant on a machine under load too.
"""

from __future__ import annotations

import collections
import hashlib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from compress.core.run_directory import PARTIAL

NETWORK = """
from torch import nn


def build(classes: int, width: int = 8) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.BatchNorm2d(2 * width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, classes),
    )


def student() -> nn.Module:
    return build(10)


def teacher() -> nn.Module:
    return build(10, 12)
"""
RECIPE = """
name: kills
seed: 3
task: classification
data: {source: digits, image_size: 16, limit: 120, evaluation_limit: 60}
model: {source: "python:network.py:student"}
teacher:
  source: "python:network.py:teacher"
  train: {epochs: 2, lr: 0.002}
stages:
  - distill: {epochs: 3, lr: 0.003, losses: [{response: {temperature: 4.0}}, task]}
  - prune: {importance: magnitude, target: {macs: 0.6}, schedule: {kind: cubic, steps: 2}, recover: {epochs: 1, lr: 0.002}}
  - quantize: {calibration: {samples: 32}, accept_if: {keep: quantized}}
  - export: {formats: [onnx]}
  - profile: {devices: [host], seconds: 0.05}
budget: {accuracy_drop: 0.9, size_mb: 5.0}
"""
LIBRARIES = ("compress.cli.commands", "compress.pipeline.executor", "compress.pipeline.report.write", "onnx", "onnxruntime",
             "onnxscript", "torch.onnx", "torch_pruning", "torchvision", "sklearn.datasets", "matplotlib.figure")  # fmt: skip
COMPARED = (".safetensors", ".onnx", ".npy")
LONGEST_END_S = 5.0
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
BEFORE, AFTER = "planning", "report"


class Moment(NamedTuple):
    """When to kill: so many seconds of CPU time after a folder of a run appeared; None for the start of the run."""

    folder: str | None
    cpu_s: float


class Trial:
    """Runs below one folder.

    Args:
        work: Scratch folder.
    """

    def __init__(self, work: Path) -> None:
        self.work, self.temporary = work, work / "tmp"
        self.temporary.mkdir(parents=True)
        (work / "network.py").write_text(NETWORK)
        self.recipe = work / "recipe.yaml"
        self.recipe.write_text(RECIPE)
        self.log = work / "log.txt"

    def start(self, out: Path) -> psutil.Process:
        """A run in a process and session of its own."""
        pid = os.fork()
        if pid:
            return psutil.Process(pid)
        code = 70
        try:
            code = self._run(out)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _run(self, out: Path) -> int:
        from compress.cli import main

        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["TMPDIR"] = str(self.temporary)
        tempfile.tempdir = None
        sys.argv = ["compress", "pipeline", str(self.recipe), "--out", str(out), "--trust-code"]
        try:
            main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 0
        return 0


def main(seed: int, count: int, work: Path) -> int:
    """Kill `count` times; 1 where something was wrong."""
    rng = random.Random(seed)
    for name in LIBRARIES:
        importlib.import_module(name)
    trial = Trial(work)
    reference = work / "reference"
    spent = _measure(trial, reference)
    expected = _hashes(reference)
    print(f"CPU time of an uninterrupted run, s: { {name: round(value, 2) for name, value in spent.items()} }", flush=True)
    where: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    longest = 0.0
    while where.total() < count:
        out = work / "out"
        shutil.rmtree(out, ignore_errors=True)
        begin = rng.randrange(len(spent))
        _without_stages_from(reference, out, list(spent)[begin])
        for index in sorted(rng.choices(range(begin, len(spent)), k=min(rng.randint(1, 5), count - where.total()))):
            name = list(spent)[index]
            number = rng.choice(SIGNALS)
            moment = Moment(_first_folder(name, list(spent)), rng.uniform(0, spent[name]))
            ended = _kill(trial.start(out), out, moment, number, rng.random() < 0.4)
            if ended is not None:
                where[f"{name} {number.name}"] += 1
                longest = max(longest, ended)
                if ended > LONGEST_END_S:
                    faults.append(f"{number.name} in {name} took {ended:.1f} s")
                if number is not signal.SIGKILL and any(trial.temporary.iterdir()):
                    faults.append(f"{number.name} in {name} left temporary files")
            shutil.rmtree(trial.temporary)
            trial.temporary.mkdir()
        faults += _finish(trial, out, expected)
        print(f"kills {where.total()}, faults {faults}", flush=True)
    total = {part.name: sum(value for key, value in where.items() if key.endswith(part.name)) for part in SIGNALS}
    print(f"kills seed {seed}: {where.total()} kills, {total}, longest end {longest:.1f} s, {len(faults)} faults {faults}")
    print(f"  by stage and signal: {dict(sorted(where.items()))}")
    return int(bool(faults))


def _measure(trial: Trial, out: Path) -> dict[str, float]:
    """CPU seconds of every part of an uninterrupted run, in order."""
    process = trial.start(out)
    began: dict[str, float] = {BEFORE: 0.0}
    finished: dict[str, float] = {}
    used = 0.0
    while process.status() != psutil.STATUS_ZOMBIE:
        used = max(used, _cpu_s(process))
        for path in out.glob("*/*/*.partial"):
            began.setdefault(path.stem, used)
        for path in out.glob("*/*/[0-9][0-9]-*"):
            if path.suffix != PARTIAL:
                finished.setdefault(path.name, used)
        time.sleep(0.01)
    status = os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1])
    if status not in (0, 1):
        raise SystemExit(f"the uninterrupted run ended with {status}; see {trial.log}")
    began = {name: at for name, at in began.items() if name in (BEFORE, *finished)} | {AFTER: max(finished.values())}
    ends = [*list(began.values())[1:], used]
    return {name: end - begin for (name, begin), end in zip(began.items(), ends, strict=True)}


def _without_stages_from(reference: Path, out: Path, name: str) -> None:
    """A copy of a finished run as it is while `name` begins; nothing for the first stage and before."""
    if name == BEFORE or name.startswith("00-"):
        return
    shutil.copytree(reference, out)
    for path in out.glob("*/*/*"):
        if path.name >= name or not path.name[:2].isdigit():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _kill(process: psutil.Process, out: Path, moment: Moment, number: signal.Signals, group: bool) -> float | None:
    """Send a signal at a moment of a run; how long the run took to end, s, or None where it had finished before."""
    began: float | None = 0.0 if moment.folder is None else None
    while process.status() != psutil.STATUS_ZOMBIE:
        if began is None and any(out.glob(f"*/*/{moment.folder}")):
            began = _cpu_s(process)
        if began is not None and _cpu_s(process) - began >= moment.cpu_s:
            at = time.monotonic()
            os.killpg(process.pid, number) if group and os.getsid(process.pid) == process.pid else process.send_signal(number)
            os.waitpid(process.pid, 0)
            return time.monotonic() - at
        time.sleep(0.005)
    os.waitpid(process.pid, 0)
    return None


def _first_folder(part: str, parts: Sequence[str]) -> str | None:
    """The folder whose appearance begins a part of a run: of the running stage; for the report, of the last finished stage."""
    if part == BEFORE:
        return None
    return parts[-2] if part == AFTER else f"{part}{PARTIAL}"


def _cpu_s(process: psutil.Process) -> float:
    """CPU time of a process and its children that have ended."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _finish(trial: Trial, out: Path, expected: dict[str, str]) -> list[str]:
    """Let a run end; what differs from the uninterrupted one."""
    status = os.waitstatus_to_exitcode(os.waitpid(trial.start(out).pid, 0)[1])
    faults = [] if status in (0, 1) else [f"exit status {status} of a resumed run"]
    if "Traceback" in trial.log.read_text(errors="replace"):
        faults.append(f"a traceback in {trial.log}")
    found = _hashes(out)
    faults += [f"{name} differs" for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name)]
    left = [path.name for path in out.rglob("*") if path.name.startswith(".") and path.is_file() and path.name != ".lock"]
    faults += [f"left {name}" for name in [*left, *(path.name for path in out.rglob("*.partial"))]]
    if any(trial.temporary.iterdir()):
        faults.append("a finished run left temporary files")
    return faults


def _hashes(out: Path) -> dict[str, str]:
    run = next(out.glob("*/*"))
    files = [path for path in sorted(run.glob("[0-9][0-9]-*/**/*")) if path.is_file() and path.suffix in COMPARED]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
