"""Memory, descriptors, threads, child processes and temporary files over several runs in one process."""

from __future__ import annotations

import gc
import getpass
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compress import Budget, Data, Distill, Export, Pipeline, Profile, Prune, Quantize

GROWTH_MB = 15.0
"""Allowed growth of the resident memory in a run after the second."""


LIBRARY_CACHES = {f"torchinductor_{getpass.getuser()}"}
"""Empty folder that importing torch's compiler creates below the temporary folder."""


class Usage(NamedTuple):
    """Of this process after a run."""

    memory_mb: float
    descriptors: int
    threads: int
    python_threads: int
    children: int
    temporary_files: int


def main(seed: int, count: int, work: Path) -> int:
    """Run `count` pipelines; 1 where something grew."""
    temporary = work / "tmp"
    temporary.mkdir(parents=True)
    os.environ["TMPDIR"] = str(temporary)
    tempfile.tempdir = None
    torch.set_num_threads(1)
    process = psutil.Process()
    rows: list[Usage] = []
    for _ in range(count):
        shutil.rmtree(work / "out", ignore_errors=True)
        _run(work / "out", seed)
        gc.collect()
        files = sum(1 for path in temporary.rglob("*") if path.name not in LIBRARY_CACHES)
        children = len(process.children(recursive=True))
        memory = process.memory_info().rss / 1e6
        rows.append(Usage(memory, process.num_fds(), process.num_threads(), threading.active_count(), children, files))
        print(rows[-1], flush=True)
    growth = (rows[-1].memory_mb - rows[1].memory_mb) / (count - 2) if count > 2 else 0.0
    first, last = rows[0], rows[-1]
    grown = {
        "memory": growth >= GROWTH_MB,
        "descriptors": last.descriptors > first.descriptors + 2,
        "threads": last.threads > first.threads + 2,
        "children": last.children > 0,
        "temporary files": last.temporary_files > 0,
    }
    print(f"resources seed {seed}: {count} runs, {growth:.1f} MB per run after the second, {first} to {last}")
    print(f"  grown: {[name for name, is_grown in grown.items() if is_grown]}")
    return int(any(grown.values()))


def _run(out: Path, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(120) % 4
    images = torch.randn(120, 3, 16, 16, generator=generator)
    images[:, 0] += labels.view(-1, 1, 1)
    train, validation, test = (DataLoader(TensorDataset(images[:size], labels[:size]), batch_size=20) for size in (120, 60, 60))
    stages = [
        Distill(epochs=1),
        Prune(target={"macs": 0.6}, schedule={"steps": 2}, recover={"epochs": 1}),
        Quantize(),
        Export(),
        Profile(seconds=0.05),
    ]
    data = Data.from_loaders(train, validation, test, classes=list("abcd"))
    Pipeline("own", model=_network(16), teacher=_network(32), data=data, stages=stages, budget=Budget(size_mb=2.0)).run(out=out)


def _network(width: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.BatchNorm2d(2 * width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 4),
    )  # fmt: skip
