"""Gain of each loss, teacher and curriculum over the student alone and over response distillation, on `glyphs`.

    python tests/benchmarks/bench_distillation.py --cache DIR --report reports/benchmarks/distillation.md
    python tests/benchmarks/bench_distillation.py --smoke

All students of a section have equal numbers of steps and batch sizes, and the same three seeds of weights and order. DIR
stores each finished run, which the next call reuses; `--ready` writes the table of the finished runs and runs nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import distillation_networks as networks
import numpy as np
import torch
from distillation_cases import NETWORKS, Case, cases
from distillation_table import Row, placed, table
from torch import nn

from compress.backends.run_split import run_split
from compress.core.atomic_files import write_text
from compress.core.stage import Candidate, Context
from compress.data.factory import load_data
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.distill.stage import Distill
from compress.distill.teachers.external import write_soft_labels
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.classification import Classification
from compress.train.stage import Train


@dataclass(frozen=True)
class Size:
    """How large everything is."""

    few: int = networks.FEW
    many: int = networks.MANY
    steps: int = 400
    teacher_steps: int = 800
    seeds: int = 3
    first_seed: int = 0
    batch: int = 50
    image_size: int = 32
    test: float = 0.3
    data_seed: int = 0


SMOKE = Size(few=124, many=248, steps=4, teacher_steps=4, seeds=2, batch=31, image_size=16)
RATES = {"small": 2e-2, "perceptron": 1e-2, "recurrent": 1e-2, "attentive": 4e-3, "attentive_teacher": 2e-3}
"""Peak learning rates, tuned on other fonts and seeds; 4e-3 for all others."""


@dataclass
class Bench:
    """One run of the benchmark.

    Args:
        folder: For what is finished.
        size: How large everything is.
    """

    folder: Path
    size: Size
    _data: dict[str, Data] = field(default_factory=dict)

    def data(self, name: str) -> Data:
        """The images of a case."""
        if name not in self._data:
            size = self.size
            settings = DataSettings(
                source="glyphs",
                image_size=size.image_size,
                samples=size.many,
                limit=size.few if name in ("few", "random") else None,
                labelled=size.few if name == "unlabelled" else None,
                augment="randaugment" if name == "random" else "light",
                validation=0.05,
                test=size.test,
                seed=size.data_seed,
            )
            self._data[name] = load_data(settings, base=Path.cwd())
        return self._data[name]

    def network(self, name: str, seed: int) -> nn.Module:
        """With fresh weights."""
        spec = self.data("few").spec
        if not hasattr(networks, name):
            return build_model(ModelSettings(source=f"torchvision:{name}"), spec, seed=seed, base=Path.cwd()).module
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made: nn.Module = getattr(networks, name)(len(spec.classes))
        return made

    def training(self, name: str, data: str, steps: int) -> dict[str, Any]:
        """Settings for a network on some data."""
        epochs = max(1, round(steps / math.ceil(len(self.data(data).train) / self.size.batch)))
        return {"epochs": epochs, "batch_size": self.size.batch, "lr": RATES.get(name, 4e-3)}

    def teacher(self, name: str, data: str) -> Candidate:
        """A teacher of a data set, trained on its labels alone, so that unlabelled images bring nothing but themselves."""
        labels = "many" if data == "many" else "few"
        kind, _, seed = name.partition(":")
        candidate = Candidate(self.data(labels).spec, self.network(kind, int(seed or 0)))
        stage = Train(**self.training(kind, labels, self.size.teacher_steps))
        folder = self.folder / f"teacher-{labels}-{name.replace(':', '-')}"
        return stage.run(candidate, self.context(labels, int(seed or 0), folder)).candidate

    def context(self, name: str, seed: int, folder: Path, teachers: tuple[Candidate, ...] = ()) -> Context:
        """What a stage is given."""
        return Context(
            data=self.data(name),
            task=Classification(),
            folder=folder,
            cache=self.folder / "answers",
            seed=seed,
            teachers=teachers,
            device="cpu",
            base=self.folder,
            trust_code=True,
        )

    def path(self, case: Case, seed: int) -> Path:
        """Where a finished run is kept."""
        size = [self.size.steps, self.size.data_seed, RATES.get(case.student)]
        text = json.dumps([case.distill, case.teachers, case.first, case.more, size], default=str)
        digest = hashlib.sha256(text.replace(str(NETWORKS), NETWORKS.name).encode()).hexdigest()[:12]
        return self.folder / "cases" / f"{case.student}-{case.data}-{digest}-{seed}.json"

    def run(self, case: Case, seed: int) -> dict[str, Any]:
        """Scores of the test images and seconds; from the cache when finished."""
        path = self.path(case, seed)
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            return found
        data = self.data(case.data)
        settings = self.training(case.student, case.data, self.size.steps) | case.more
        candidate = Candidate(data.spec, self.network(case.student, seed))
        teachers = () if case.distill is None else tuple(self.teacher(name, case.data) for name in case.teachers)
        if "soft.parquet" in str(case.distill):
            self.soft_labels(teachers[0].network(), data)
        context = self.context(case.data, seed, self.folder / "work" / path.stem, teachers)
        if case.first:
            alone = self.context(case.data, seed, self.folder / "work" / f"{path.stem}-first")
            candidate = Train(**settings).run(candidate, alone).candidate
        began = time.process_time()
        stage = Train(**settings) if case.distill is None else Distill(**settings, **case.distill)
        outcome = stage.run(candidate, context)
        epochs = outcome.results.get("epochs")
        found = {
            "scores": self.scores(outcome.candidate.network(), data),
            "epochs": settings["epochs"] if epochs is None else epochs.value,
            "cpu_s": time.process_time() - began,
            "notes": list(outcome.notes),
        }
        write_text(path, json.dumps(found))
        return found

    def soft_labels(self, network: nn.Module, data: Data) -> None:
        """Write what a teacher says of the training images as they are."""
        answers = torch.cat([outputs_of_batch(network, batch.input) for batch in data.train.ordered(100)])
        write_soft_labels(self.folder / "soft.parquet", answers.softmax(1), data.train, data.spec.classes)

    @staticmethod
    def scores(network: nn.Module, data: Data) -> list[float]:
        """1 for each test image that is named right, else 0."""
        return run_split(network, data.test, Classification()).scores.tolist()  # type: ignore[no-any-return]

    def row(self, case: Case) -> Row | None:
        """What the table needs; None where a run is missing."""
        if not all(self.path(case, seed).exists() for seed in self.seeds):
            return None
        runs = [self.run(case, seed) for seed in self.seeds]
        epochs = float(np.mean([run["epochs"] for run in runs]))
        return Row(case.section, case.kind, case.name, np.array([run["scores"] for run in runs]), epochs, case.distill is None)

    @property
    def seeds(self) -> range:
        """Of the students."""
        return range(self.size.first_seed, self.size.first_seed + self.size.seeds)


@torch.no_grad()
def outputs_of_batch(network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Logits."""
    answer: torch.Tensor = network(inputs)
    return answer


def report(bench: Bench, chosen: list[Case]) -> str:
    """The whole page."""
    rows = [row for case in chosen if (row := bench.row(case)) is not None]
    finished = {(row.section, row.name) for row in rows}
    missing = [f"{case.name} ({case.section})" for case in chosen if (case.section, case.name) not in finished]
    taught = {}
    for data, name in dict.fromkeys((case.data, name) for case in chosen for name in case.teachers if case.distill is not None):
        labels = "many" if data == "many" else "few"
        if (bench.folder / f"teacher-{labels}-{name.replace(':', '-')}" / "train.done.json").exists():
            taught[f"{name}, {labels}"] = float(np.mean(bench.scores(bench.teacher(name, data).network(), bench.data(labels))))
    return table(rows, taught, missing)


def main() -> None:
    """Run, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "bench_distillation")
    parser.add_argument("--report", type=Path, default=None)
    parser.add_argument("--only", default="", help="cases whose section or name holds this")
    parser.add_argument("--smoke", action="store_true", help="toy size: shows that it runs, its figures mean nothing")
    parser.add_argument("--ready", action="store_true", help="run nothing, write the table of what is there")
    given = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench((given.cache / ("smoke" if given.smoke else "full")).absolute(), SMOKE if given.smoke else Size())
    chosen = [case for case in cases() if given.only in f"{case.section} {case.name}"]
    began = time.process_time()
    for case in () if given.ready else chosen:
        for seed in bench.seeds:
            bench.run(case, seed)
        print(f"{time.process_time() - began:7.0f} CPU s  {case.section}: {case.name}", flush=True)
    text = report(bench, chosen)
    print(text)
    if given.report is not None:
        page = given.report.read_text(encoding="utf-8") if given.report.exists() else ""
        write_text(given.report, placed(page, text))


if __name__ == "__main__":
    main()
