"""Recipes of `bench_text.py`: the shipped ones, the chain, and TinyBERT's way with one part taken away."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DISTILBERT = ROOT / "pipelines" / "bert_to_distilbert.yaml"
TINYBERT = ROOT / "pipelines" / "bert_to_tinybert.yaml"
Recipe = dict[str, Any]
PRUNE: Recipe = {
    "prune": {
        "granularity": "channel",
        "importance": "fisher",
        "target": {"params": 0.25},
        "recover": {"teacher": "parent", "epochs": 3, "lr": 0.0005},
    }
}
"""Stage of the chain between distillation and int8."""


def read(path: Path) -> Recipe:
    """A recipe as YAML has it."""
    recipe: Recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    return recipe


def with_control(recipe: Recipe) -> Recipe:
    """The recipe whose last distillation also trains the student alone."""
    changed = copy.deepcopy(recipe)
    last = [stage["distill"] for stage in changed["stages"] if isinstance(stage, dict) and "distill" in stage][-1]
    last["control"] = True
    return changed


def chain() -> Recipe:
    """DistilBERT's way, then pruned, then int8."""
    recipe = with_control(read(DISTILBERT)) | {"name": "text_chain"}
    stages: list[Any] = recipe["stages"]
    last = max(index for index, stage in enumerate(stages) if isinstance(stage, dict) and "distill" in stage)
    return recipe | {"stages": [*stages[: last + 1], copy.deepcopy(PRUNE), *stages[last + 1 :]]}


def without_part(loss: str) -> Recipe:
    """TinyBERT's way without one of its losses; a stage that has no other is left out."""
    recipe = read(TINYBERT) | {"name": f"tinybert_without_{loss}"}
    stages = []
    for stage in recipe["stages"]:
        if isinstance(stage, dict) and "distill" in stage:
            losses = [
                entry for entry in stage["distill"]["losses"] if loss not in ({entry} if isinstance(entry, str) else entry)
            ]
            if not losses:
                continue
            stages.append({"distill": stage["distill"] | {"losses": losses}})
        else:
            stages.append(stage)
    return recipe | {"stages": stages}


def parts() -> tuple[str, ...]:
    """The losses of TinyBERT's way, each of which is taken away once."""
    names = []
    for stage in read(TINYBERT)["stages"]:
        entries = stage["distill"]["losses"] if isinstance(stage, dict) and "distill" in stage else ()
        names += [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    return tuple(dict.fromkeys(names))


def arms() -> dict[str, Recipe]:
    """All recipes by name."""
    recipes = {"distilbert": with_control(read(DISTILBERT)), "tinybert": with_control(read(TINYBERT)), "chain": chain()}
    return recipes | {f"tinybert without {loss}": without_part(loss) for loss in parts() if loss != "task"}
