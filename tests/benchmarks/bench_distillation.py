"""What each loss, teacher and curriculum brings over the student alone, on `glyphs` with few labels.

    python tests/benchmarks/bench_distillation.py --cache /tmp/distillation --report reports/benchmarks/distillation.md
    python tests/benchmarks/bench_distillation.py --smoke

Every student takes the same number of steps of the same size, with three seeds of weights and order. A finished case is kept in
the cache folder, so an interrupted run goes on. Differences are paired by test image, of the mean over the seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from compress.data.settings import DataSettings
from compress.data.sources import load
from compress.data.splits import Data
from compress.distill.stage import Distill
from compress.files import write_text
from compress.models.settings import ModelSettings
from compress.models.sources import build
from compress.stage import Candidate, Context
from compress.statistics import paired_difference
from compress.tasks.classification import Classification
from compress.train.evaluate import outputs_of
from compress.train.stage import Train

RESPONSE = ({"response": {"temperature": 4.0, "weight": 0.7}}, {"task": {"weight": 0.3}})


def small_network(classes: int) -> nn.Module:
    """Three convolutions and a head: 26,000 weights, 1/430 of ResNet-18."""
    layers: list[nn.Module] = []
    before = 3
    for width in (16, 32, 64):
        layers.append(nn.Sequential(nn.Conv2d(before, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()))
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes)).eval()


@dataclass(frozen=True)
class Size:
    """How large everything is."""

    few: int = 2000
    many: int = 10_000
    steps: int = 600
    teacher_epochs: int = 12
    seeds: int = 3
    batch: int = 64
    image_size: int = 32


SMOKE = Size(few=124, many=248, steps=4, teacher_epochs=1, seeds=2, batch=32, image_size=16)


@dataclass(frozen=True, eq=False)
class Case:
    """One row.

    Attributes:
        group: Heading.
        name: Row.
        distill: Parameters of the stage; None trains alone.
        data: `few` labelled images; `unlabelled`, those and the rest of `many` without labels; `many`, all labelled.
        student: `small` or a torchvision name.
    """

    group: str
    name: str
    distill: dict[str, Any] | None
    data: str = "few"
    student: str = "small"

    @property
    def key(self) -> str:
        """File name."""
        return f"{self.data}-{self.student}-{self.group}-{self.name}".replace(" ", "_").replace("/", "_")


def beside_task(name: str, weight: float = 0.7, **parameters: Any) -> dict[str, Any]:
    """A loss beside the hard labels."""
    return {"losses": ({name: {"weight": weight, **parameters}}, {"task": {"weight": 0.3}})}


def with_response(name: str, weight: float, **parameters: Any) -> dict[str, Any]:
    """A loss beside response distillation."""
    return {"losses": (*RESPONSE, {name: {"weight": weight, **parameters}})}


def cases() -> list[Case]:
    """All rows; the student alone first, which the others are held against."""
    response = {"losses": RESPONSE}
    losses = {
        "response": response,
        "reverse": beside_task("reverse"),
        "jensen_shannon": beside_task("jensen_shannon", 2.0),
        "decoupled": beside_task("decoupled", 0.3),
        "dist": beside_task("dist", 0.2),
        "standardised": beside_task("standardised"),
        "soft_labels": beside_task("soft_labels"),
        "label_smoothing (no teacher)": {"losses": ({"label_smoothing": {}},)},
        "virtual_teacher (no teacher)": {"losses": ({"virtual_teacher": {"weight": 0.01}}, "task")},
        "response + hint": with_response("hint", 0.5),
        "response + cosine": with_response("cosine", 0.5),
        "response + similarity": with_response("similarity", 50.0),
        "response + fsp": with_response("fsp", 1.0),
        "response + attention_transfer": with_response("attention_transfer", 5.0),
        "response + rkd_distance": with_response("rkd_distance", 1.0),
        "response + rkd_angle": with_response("rkd_angle", 2.0),
        "response + contrastive": with_response("contrastive", 0.05),
        "response + jacobian": with_response("jacobian", 0.2),
    }
    teachers = {
        "top 10 classes kept": {**response, "cache": {"k": 10}},
        "progressive: mobilenet_v3_small": {**response, "assistants": ("torchvision:mobilenet_v3_small",)},
        "snapshot": {**response, "teacher": {"snapshot": {"every": 2}}},
        "moving_average": {**response, "teacher": {"moving_average": {}}},
        "ensemble": {**response, "teacher": "ensemble"},
        "mutual": {**response, "teacher": "mutual"},
        "own exits (branches, no teacher)": {"losses": ({"branches": {}}, "task")},
    }
    curricula = {
        "mixup": {"mixup": 0.2},
        "cutmix": {"cutmix": 1.0},
        "erase": {"erase": 0.25},
        "mine teacher_error": {"mine": "teacher_error"},
        "mine student_loss": {"mine": "student_loss"},
        "mine disagreement": {"mine": "disagreement"},
        "temperature entropy": {"temperature": "entropy"},
        "temperature learned": {"temperature": "learned"},
        "balance uncertainty": {"balance": "uncertainty"},
    }
    funmatch = {"losses": ({"response": {"temperature": 1.0}},), "curriculum": {"mixup": 1.0}}
    return [
        Case("alone", "alone", None),
        *(Case("loss", name, given) for name, given in losses.items()),
        *(Case("teacher", name, given) for name, given in teachers.items()),
        *(Case("curriculum", name, {**response, "curriculum": given}) for name, given in curricula.items()),
        Case("curriculum", "FunMatch", funmatch),
        Case("loss", "response", response, data="unlabelled"),
        Case("alone", "alone", None, data="many"),
        Case("loss", "response", response, data="many"),
        Case("alone", "alone", None, student="mobilenet_v2"),
        Case("loss", "response", response, student="mobilenet_v2"),
    ]


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
                limit=size.few if name == "few" else None,
                labelled=size.few if name == "unlabelled" else None,
                augment="light",
                validation=0.05,
                test=0.3,
            )
            self._data[name] = load(settings, base=Path.cwd())
        return self._data[name]

    def teacher(self, name: str) -> Candidate:
        """The teacher of a data set: trained on its labels alone, so that unlabelled images bring nothing but themselves."""
        labels = "few" if name == "unlabelled" else name
        data, size = self.data(labels), self.size
        network = build(ModelSettings(source="torchvision:resnet18"), data.spec, seed=0, base=Path.cwd()).module
        stage = Train(epochs=size.teacher_epochs, batch_size=size.batch, lr=2e-3)
        return stage.run(Candidate(data.spec, network), self.context(labels, 0, self.folder / f"teacher-{labels}")).candidate

    def context(self, name: str, seed: int, folder: Path, teacher: Candidate | None = None) -> Context:
        """What a stage is given."""
        return Context(
            data=self.data(name),
            task=Classification(),
            folder=folder,
            cache=self.folder / "answers",
            seed=seed,
            teacher=() if teacher is None else (teacher,),
            device="cpu",
        )

    def run(self, case: Case, seed: int) -> dict[str, Any]:
        """Scores of the test images, seconds and teacher's part of them; from the cache when finished."""
        path = self.folder / "cases" / f"{case.key}-{seed}.json"
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            return found
        data, size = self.data(case.data), self.size
        epochs = max(1, math.ceil(size.steps / math.ceil(len(data.train) / size.batch)))
        settings = {"epochs": epochs, "batch_size": size.batch, "lr": 4e-3}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if case.student == "small":
                network = small_network(len(data.spec.classes))
            else:
                network = build(
                    ModelSettings(source=f"torchvision:{case.student}"), data.spec, seed=seed, base=Path.cwd()
                ).module
        teacher = self.teacher(case.data) if case.distill is not None else None
        stage = Train(**settings) if case.distill is None else Distill(**settings, **case.distill)
        began = time.perf_counter()
        context = self.context(case.data, seed, self.folder / "work" / f"{case.key}-{seed}", teacher)
        outcome = stage.run(Candidate(data.spec, network), context)
        seconds = time.perf_counter() - began
        spent = outcome.results.get("teacher_s")
        found = {
            "scores": self.scores(outcome.candidate.network(), data),
            "epochs": epochs,
            "seconds": seconds,
            "teacher_s": 0.0 if spent is None else spent.value,
        }
        write_text(path, json.dumps(found))
        return found

    @staticmethod
    def scores(network: nn.Module, data: Data) -> list[float]:
        """1 for each test image that is named right, else 0."""
        outputs, targets = outputs_of(network, data.test)
        return Classification().correct(outputs, targets).tolist()  # type: ignore[no-any-return]


def table(bench: Bench, chosen: list[Case]) -> str:
    """The report."""
    size = bench.size
    rows = {case: [bench.run(case, seed) for seed in range(size.seeds)] for case in chosen}

    def mean_scores(case: Case) -> np.ndarray:
        return np.mean([run["scores"] for run in rows[case]], axis=0)

    lines = [
        "# Distillation: what each loss, teacher and curriculum brings",
        "",
        f"`glyphs` at {size.image_size} × {size.image_size}, {size.few} labels (`few`) or {size.many} (`many`); `unlabelled` "
        f"has {size.few} labels and the other images without. Test images are of fonts that training never saw. Students take "
        f"about {size.steps} steps of {size.batch}; {size.seeds} seeds. Teacher: torchvision's ResNet-18, "
        f"{size.teacher_epochs} epochs, one seed.",
        "",
        "Gain: difference of accuracy to the student alone on the same labels, in points, with the 95 % interval over test "
        "images of the mean over seeds; seeds: gain of each. CPU, threads as given; seconds are of the whole case.",
        "",
    ]
    for data, student in dict.fromkeys((case.data, case.student) for case in chosen):
        here = [case for case in chosen if (case.data, case.student) == (data, student)]
        labels = "few" if data == "unlabelled" else data
        alone = (case for case in chosen if case.distill is None and (case.data, case.student) == (labels, student))
        base = next(alone, None)
        accuracy = np.mean(bench.scores(bench.teacher(data).network(), bench.data(data)))
        lines += [f"## {student}, {data}", "", f"Teacher: {accuracy:.1%}.", ""]
        lines += [
            "| kind | case | accuracy | gain | 95 % interval | seeds | s | teacher s |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for case in here:
            lines.append(row(case, rows[case], mean_scores(case), None if base is None else (rows[base], mean_scores(base))))
        lines.append("")
    return "\n".join(lines)


def row(
    case: Case, runs: list[dict[str, Any]], scores: np.ndarray, base: tuple[list[dict[str, Any]], np.ndarray] | None
) -> str:
    """One line of the table."""
    seconds, teacher = (np.mean([run[name] for run in runs]) for name in ("seconds", "teacher_s"))
    cells = [case.group, case.name, f"{scores.mean():.1%}"]
    if base is None or case.distill is None:
        cells += ["", "", ""]
    else:
        gain, low, high = (100 * value for value in paired_difference(scores, base[1]))
        verdict = "" if low > 0 else " worse" if high < 0 else " undecided"
        each = [100 * (np.mean(run["scores"]) - np.mean(other["scores"])) for run, other in zip(runs, base[0], strict=True)]
        cells += [f"{gain:+.1f}", f"{low:+.1f} to {high:+.1f}{verdict}", ", ".join(f"{value:+.1f}" for value in each)]
    return "| " + " | ".join([*cells, f"{seconds:.1f}", f"{teacher:.1f}"]) + " |"


def main() -> None:
    """Run, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "bench_distillation")
    parser.add_argument("--report", type=Path, default=None)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--smoke", action="store_true", help="toy size: shows that it runs, its figures mean nothing")
    given = parser.parse_args()
    bench = Bench(given.cache / ("smoke" if given.smoke else "full"), SMOKE if given.smoke else Size())
    chosen = [case for case in cases() if given.only in case.name or case.distill is None]
    began = time.perf_counter()
    for case in chosen:
        for seed in range(bench.size.seeds):
            bench.run(case, seed)
        print(f"{time.perf_counter() - began:7.0f} s  {case.student} {case.data} {case.group}: {case.name}", flush=True)
    text = table(bench, chosen)
    print(text)
    if given.report is not None:
        write_text(given.report, text)


if __name__ == "__main__":
    main()
