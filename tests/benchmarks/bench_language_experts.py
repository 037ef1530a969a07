"""A dense student of a mixture of experts: more than the router's experts against plain distillation, over several seeds.

    python tests/benchmarks/bench_language_experts.py [--seeds 0,1,2] [--texts 1000] [--teacher-epochs 8] [--epochs 5]

Data, teacher and losses are those of `llm_moe_to_dense`. The student is a dense decoder of an eighth of the teacher's size with
new weights; all arms of a seed have the same ones and see the texts in the same order. The second table merges the experts of
the teacher of the first seed in several ways, and distils each result for one epoch. Prints a section of Markdown.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from compress.backends.run_split import run_split
from compress.config import recipe as recipes
from compress.core.stage import Candidate, Context
from compress.data.factory import load_data
from compress.distill.stage import Distill
from compress.merge.experts.stage import MergeExperts
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.pipeline.task_data import data_for_task
from compress.train.stage import Train

Nats = npt.NDArray[np.float64]
PLAIN, ALONE = "plain distillation", "student alone"
TEACHERS: dict[str, Any] = {
    PLAIN: "teacher",
    "knowledge augmentation, 2 passes": {"knowledge_augmentation": {"passes": 2}},
    "student-aware router": {"student_aware_router": {"lr": 0.001}},
}
MERGES: dict[str, Any] = {
    "average, units aligned": {"average": {}},
    "average, units as they are": {"average": {"align": False}},
    "most used expert": {"most_used": {"experts": 1}},
    "two most used experts": {"most_used": {"experts": 2}},
    "singular values": {"svd": {}},
}
STUDENT = {"layers": 2, "width": 64, "heads": 2, "key_value_heads": 1, "feed_forward": 192}
LR = 0.003
DRAWS = 2000


class Setting(NamedTuple):
    """What all arms of a seed share: recipe, data, trained teacher, and the epochs of a student."""

    loaded: recipes.LoadedRecipe
    context: Context
    epochs: int

    @property
    def teacher(self) -> nn.Module:
        """The trained network with experts."""
        return self.context.teachers[0].network()


def prepare(seed: int, folder: Path, arguments: argparse.Namespace) -> Setting:
    """Read the data and train the teacher."""
    cut = (f"data.limit={arguments.texts}", f"data.evaluation_limit={arguments.texts // 2}")
    loaded = recipes.load("llm_moe_to_dense", overrides=(f"seed={seed}", f"data.seed={seed}", *cut))
    recipe = loaded.recipe
    task = recipe.task.make()
    data = data_for_task(load_data(recipe.data, base=Path.cwd()), task)
    context = Context(data=data, task=task, folder=folder, cache=folder, seed=seed, base=Path.cwd(), device="cpu")
    source = recipe.teachers[0]
    network = build_model(source, data.spec, seed=seed, base=Path.cwd(), task=task).module
    settings = source.train.model_copy(update={"epochs": arguments.teacher_epochs}).model_dump()
    trained = Train(**settings).run(Candidate(data.spec, network), context).candidate
    return Setting(loaded, replace(context, teachers=(trained,)), arguments.epochs)


def distilled(setting: Setting, student: nn.Module, teacher: Any, name: str, **changed: float) -> nn.Module:
    """The student after its training; None as teacher trains on the texts alone."""
    stage = setting.loaded.recipe.stages[1]
    assert isinstance(stage, Distill)
    context = replace(setting.context, folder=setting.context.folder / name.replace(" ", "_"))
    values = {**stage.model_dump(exclude_unset=True), "epochs": setting.epochs, **changed}
    candidate = Candidate(context.data.spec, student)
    if teacher is None:
        plain = {key: value for key, value in values.items() if key not in ("losses", "teacher")}
        return Train(**plain).run(candidate, context).candidate.network()
    return Distill.model_validate({**values, "teacher": teacher}).run(candidate, context).candidate.network()


def fresh_student(setting: Setting) -> nn.Module:
    """A small dense decoder with new weights."""
    settings = ModelSettings(source="decoder:tiny", args=STUDENT)
    spec, task, seed = setting.context.data.spec, setting.context.task, setting.context.seed
    return build_model(settings, spec, seed=seed + 100, base=Path.cwd(), task=task).module


def merged(setting: Setting, method: Any) -> nn.Module:
    """The teacher with merged experts."""
    stage = MergeExperts.model_validate({"method": method})
    return stage.run(Candidate(setting.context.data.spec, setting.teacher), setting.context).candidate.network()


def test_scores(network: nn.Module, context: Context) -> Nats:
    """Sum of −log p and number of tokens of each test text, (samples, 2)."""
    return np.asarray(run_split(network, context.data.test, context.task).scores, dtype=np.float64)


def perplexity(scores: Nats) -> float:
    """exp of the nats per token."""
    total, tokens = scores.sum(axis=0)
    return math.exp(total / tokens)


def pooled_difference(pairs: list[tuple[Nats, Nats]]) -> tuple[float, float, float]:
    """Nats per token of the first less those of the second: mean over seeds, and 95 % bootstrap over seeds and texts."""
    rng = np.random.default_rng(0)

    def gap(first: Nats, second: Nats, rows: Any) -> float:
        one, two = (each[rows].sum(axis=0) for each in (first, second))
        return float(one[0] / one[1] - two[0] / two[1])

    value = float(np.mean([gap(a, b, slice(None)) for a, b in pairs]))
    draws = []
    for _ in range(DRAWS):
        chosen = [pairs[index] for index in rng.integers(len(pairs), size=len(pairs))]
        draws.append(np.mean([gap(a, b, rng.integers(len(a), size=len(a))) for a, b in chosen]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return value, float(low), float(high)


def teachers_table(scores: dict[str, list[Nats]]) -> list[str]:
    """Perplexity by seed, and the difference to plain distillation."""
    lines = [
        "| network | perplexity on test, mean and seeds | nats per token less than plain distillation, 95 % interval |",
        "|---|---|---|",
    ]
    for name, found in scores.items():
        values = [perplexity(each) for each in found]
        cells = f"{np.mean(values):.2f} ({', '.join(f'{value:.2f}' for value in values)})"
        gain = "-"
        if name not in (PLAIN, "teacher of 1.0 M parameters"):
            value, low, high = pooled_difference(list(zip(scores[PLAIN], found, strict=True)))
            gain = f"{value:+.4f} ({low:+.4f} to {high:+.4f})"
        lines.append(f"| {name} | {cells} | {gain} |")
    return lines


def merge_row(name: str, setting: Setting) -> str:
    """Perplexity after merging, and after plain distillation."""
    student = merged(setting, MERGES[name])
    before = perplexity(test_scores(student, setting.context))
    after = perplexity(test_scores(distilled(setting, student, "teacher", f"merge {name}", epochs=1), setting.context))
    width = next(part.out_features for key, part in student.named_modules() if key.endswith("gate_proj"))
    return f"| {name} | {width} | {before:.1f} | {after:.2f} |"


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--teacher-epochs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--texts", type=int, default=1000)
    arguments = parser.parse_args()
    scores: dict[str, list[Nats]] = {}
    first: Setting | None = None
    rows: list[str] = []
    for seed in map(int, arguments.seeds.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            setting = prepare(seed, Path(folder), arguments)
            first = first or setting
            student = fresh_student(setting)
            scores.setdefault("teacher of 1.0 M parameters", []).append(test_scores(setting.teacher, setting.context))
            for name, teacher in {**TEACHERS, ALONE: None}.items():
                network = distilled(setting, student, teacher, name, lr=LR)
                scores.setdefault(name, []).append(test_scores(network, setting.context))
            print("\n".join(teachers_table(scores)), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        assert first is not None
        setting = first._replace(context=replace(first.context, folder=Path(folder), cache=Path(folder)))
        rows = [merge_row(name, setting) for name in MERGES]
    print("\n".join(teachers_table(scores)))
    print("\n| merged by | width of a layer | perplexity on test, merged | after plain distillation |\n|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
