"""Accuracy of training on ten synthetic images per class, compared with ten real images and with the whole data set, on
`digits`.

    python tests/benchmarks/bench_distill_data.py --cache /tmp/distill_data --report reports/benchmarks/distill_data.md
    python tests/benchmarks/bench_distill_data.py --smoke

The stage makes each set with each seed. A new network is then trained on the set alone and evaluated on the test images,
which neither the stage nor the training reads. All trainings have equal numbers of steps, batch sizes and augmentation, and
keep their last weights. The cache folder stores finished cases, so an interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from compress.backends.run_split import run_split
from compress.core.atomic_files import write_text
from compress.core.stage import Candidate, Context
from compress.core.statistics import paired_difference
from compress.data.factory import load_data
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.data.sources.distilled_set import DistilledSet, read, write
from compress.dataset_distillation.convnet import ConvNet
from compress.dataset_distillation.stage import DatasetDistillation
from compress.distill.stage import Distill
from compress.tasks.classification import Classification
from compress.train.stage import Train

SOFT = ({"soft_labels": {"temperature": 1.0}},)
AUGMENTATION = ("color", "crop", "cutout", "scale", "rotate")


@dataclass(frozen=True)
class Size:
    """How large everything is."""

    image_size: int = 16
    images_per_class: int = 10
    width: int = 16
    steps: int = 300
    batch: int = 100
    seeds: int = 3
    teacher_epochs: int = 15
    smoke: bool = False


SMOKE = Size(images_per_class=2, width=8, steps=4, seeds=2, teacher_epochs=1, smoke=True)


@dataclass(frozen=True, eq=False)
class Case:
    """One row.

    Attributes:
        name: What it says.
        method: Entry of the stage; None for all training images.
        augmentation: Of the stage; all trainings have `AUGMENTATION`.
        soft: Whether the set's soft labels are learned, not its classes.
    """

    name: str
    method: dict[str, Any] | None
    augmentation: tuple[str, ...] = AUGMENTATION
    soft: bool = False

    @property
    def made(self) -> str:
        """Folder of the set, which cases that differ in the training alone share."""
        text = json.dumps([self.method, self.augmentation])
        return "".join(letter if letter.isalnum() else "_" for letter in text)


GRADIENT = {"gradient": {"iterations": 60, "network_steps": 5}}
DISTRIBUTION = {"distribution": {"iterations": 300}}
TRAJECTORY = {"trajectory": {"iterations": 80, "experts": 2, "epochs": 10, "start": 5}}
LONGER = {"trajectory": {**TRAJECTORY["trajectory"], "iterations": 250}}
INVERSION = {"inversion": {"iterations": 300}}
CASES = (
    Case("random", {"random": {}}),
    Case("distribution (DM)", DISTRIBUTION),
    Case("trajectory (MTT)", TRAJECTORY),
    Case("trajectory (MTT), 250 changes", LONGER),
    Case("gradient (DSA)", GRADIENT),
    Case("gradient, not augmented (DC)", GRADIENT, augmentation=()),
    Case("herding", {"herding": {}}),
    Case("inversion, no data", INVERSION),
    Case("all training images", None),
    Case("random, soft labels", {"random": {}}, soft=True),
    Case("distribution, soft labels", DISTRIBUTION, soft=True),
    Case("trajectory, soft labels", TRAJECTORY, soft=True),
    Case("inversion, no data, soft labels", INVERSION, soft=True),
)


def teacher_network(channels: int, classes: int) -> nn.Module:
    """Three convolutions with batch norms and a head: gives soft labels, and is what `inversion` inverts."""
    layers: list[nn.Module] = []
    before = channels
    for width in (32, 64, 128):
        layers.append(nn.Sequential(nn.Conv2d(before, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()))
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes)).eval()


@dataclass
class Bench:
    """One run of the benchmark.

    Args:
        folder: For what is finished.
        size: How large everything is.
    """

    folder: Path
    size: Size

    @cached_property
    def data(self) -> Data:
        """The digits, in grey."""
        settings = DataSettings(source="digits", image_size=self.size.image_size, channels=1, augment="light")
        return load_data(settings, base=Path.cwd())

    @cached_property
    def teacher(self) -> Candidate:
        """Trained on all training images."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = teacher_network(1, len(self.data.spec.classes))
        stage = Train(epochs=self.size.teacher_epochs, lr=4e-3)
        return stage.run(Candidate(self.data.spec, network), self.context(0, self.folder / "teacher")).candidate

    def context(self, seed: int, folder: Path, *teachers: Candidate) -> Context:
        """What a stage is given."""
        return Context(
            data=self.data,
            task=Classification(),
            folder=folder,
            cache=self.folder / "cache",
            seed=seed,
            teachers=teachers,
            device="cpu",
            smoke=self.size.smoke,
        )

    def student(self, seed: int) -> Candidate:
        """A network to train on a set; its weights differ from all those that a set was made with."""
        spec, size = self.data.spec, self.size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 + seed)
            network = ConvNet(spec.channels, len(spec.classes), spec.shape[1:], width=size.width, depth=3).eval()
        return Candidate(spec, network)

    def set_of(self, case: Case, seed: int) -> tuple[DistilledSet, float]:
        """The set of a case, and the processor seconds that the stage took."""
        folder = self.folder / "sets" / f"{case.made}-{seed}"
        if not (folder / "seconds").exists():
            stage = DatasetDistillation(
                method=case.method or {"random": {}},
                images_per_class=self.size.images_per_class,
                augmentation=case.augmentation,
                width=self.size.width,
                views=1000,
            )
            context = self.context(seed, folder, self.teacher)
            began = time.process_time()
            (stage.smoke() if self.size.smoke else stage).run(self.student(seed), context)
            if case.method is None:
                write(folder / "distilled.safetensors", self.everything(read(folder)))
            write_text(folder / "seconds", str(time.process_time() - began))
        found = read(folder)
        about = found.about.model_copy(update={"augmentation": AUGMENTATION})
        return replace(found, about=about), float((folder / "seconds").read_text())

    def everything(self, like: DistilledSet) -> DistilledSet:
        """All training images as a set."""
        batches = list(self.data.train.ordered(256))
        targets = torch.cat([batch.target for batch in batches])
        soft = nn.functional.one_hot(targets, len(self.data.spec.classes)).float()
        return replace(like, images=torch.cat([batch.input for batch in batches]), targets=targets, soft=soft)

    def run(self, case: Case, seed: int) -> dict[str, Any]:
        """Scores of the test images and seconds; from the cache when finished."""
        name = "".join(letter if letter.isalnum() else "_" for letter in case.name)
        path = self.folder / "cases" / f"{name}-{seed}.json"
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            return found
        made, seconds = self.set_of(case, seed)
        split = made.split(seed=seed)
        epochs = max(1, math.ceil(self.size.steps / split.batches(self.size.batch)))
        settings = {"epochs": epochs, "batch_size": self.size.batch, "lr": 3e-3, "weight_decay": 5e-4, "keep": "last"}
        context = self.context(seed, self.folder / "trainings" / f"{name}-{seed}")
        # The loop looks at validation images after each epoch: ten will do, since the last weights are kept whatever it sees.
        few = made.split(rows=torch.arange(10))
        context = replace(context, data=replace(self.data, train=split, validation=few))
        stage = Distill(**settings, losses=SOFT, teacher="distilled") if case.soft else Train(**settings)
        network = stage.run(self.student(seed), context).candidate.network()
        found = {
            "scores": run_split(network, self.data.test, Classification()).scores.tolist(),
            "seconds": seconds,
            "images": len(split),
        }
        write_text(path, json.dumps(found))
        return found


def table(bench: Bench) -> str:
    """The report."""
    size = bench.size
    rows = {case: [bench.run(case, seed) for seed in range(size.seeds)] for case in CASES}
    base = rows[CASES[0]]
    teacher = run_split(bench.teacher.network(), bench.data.test, Classification())
    lines = [
        f"`digits` at {size.image_size} × {size.image_size}, grey, {size.images_per_class} images a class; network: 3 blocks "
        f"of {size.width} channels, {size.steps} steps of {size.batch} on the set alone, {size.seeds} seeds of both, "
        f"{len(bench.data.test)} test images. Teacher of the soft labels and of inversion: 3 convolutions with batch norms, "
        f"{teacher.metric:.1%} on test.",
        "",
        "Gain: difference to `random` in points with the 95 % interval over test images of the mean over seeds; seeds: gain of "
        "each. Processor seconds, one thread: to make one set.",
        "",
        "| set | images | test accuracy | gain over random | 95 % interval | seeds | s |",
        "|---|---:|---:|---:|---|---|---:|",
        *(row(case, runs, base) for case, runs in rows.items()),
    ]
    return "\n".join([*lines, ""])


def row(case: Case, runs: list[dict[str, Any]], base: list[dict[str, Any]]) -> str:
    """One line of the table."""
    scores, others = (np.mean([run["scores"] for run in each], axis=0) for each in (runs, base))
    seconds = np.mean([run["seconds"] for run in runs])
    cells = [case.name, str(runs[0]["images"]), f"{scores.mean():.1%}"]
    if runs is base:
        cells += ["", "", ""]
    else:
        gain, low, high = (100 * value for value in paired_difference(scores, others))
        verdict = "" if low > 0 else " worse" if high < 0 else " undecided"
        each = [100 * (np.mean(run["scores"]) - np.mean(other["scores"])) for run, other in zip(runs, base, strict=True)]
        cells += [f"{gain:+.1f}", f"{low:+.1f} to {high:+.1f}{verdict}", ", ".join(f"{value:+.1f}" for value in each)]
    return "| " + " | ".join([*cells, f"{seconds:.1f}" if case.method is not None else ""]) + " |"


def main() -> None:
    """Run, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "bench_distill_data")
    parser.add_argument("--report", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=None, help="this seed's cases alone, and no table: for several processes")
    parser.add_argument("--smoke", action="store_true", help="toy size: shows that it runs, its figures mean nothing")
    given = parser.parse_args()
    bench = Bench(given.cache / ("smoke" if given.smoke else "full"), SMOKE if given.smoke else Size())
    began = time.perf_counter()
    for case in CASES:
        for seed in range(bench.size.seeds) if given.seed is None else (given.seed,):
            found = bench.run(case, seed)
            print(f"{time.perf_counter() - began:7.0f} s  {case.name}, seed {seed}: {np.mean(found['scores']):.1%}", flush=True)
    if given.seed is not None:
        return
    text = table(bench)
    print(text)
    if given.report is not None:
        write_text(given.report, text)


if __name__ == "__main__":
    main()
