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
AUGMENT, ANSWERS = "augment", "response"
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


def without_part(part: str) -> Recipe:
    """TinyBERT's way without one of its losses or its copies; a stage that has no other loss is left out.

    Without the teacher's answers there are no copies either, since nothing labels them.
    """
    recipe = read(TINYBERT) | {"name": f"tinybert_without_{part}"}
    stages = []
    for stage in recipe["stages"]:
        if not (isinstance(stage, dict) and "distill" in stage):
            stages.append(stage)
            continue
        kept = {name: value for name, value in stage["distill"].items() if part not in (AUGMENT, ANSWERS) or name != AUGMENT}
        kept["losses"] = [entry for entry in kept["losses"] if part not in ({entry} if isinstance(entry, str) else entry)]
        if kept["losses"]:
            stages.append({"distill": kept})
    return recipe | {"stages": stages}


def parts() -> tuple[str, ...]:
    """The losses of TinyBERT's way and its copies of texts, each of which is taken away once."""
    names = []
    for stage in read(TINYBERT)["stages"]:
        entries = stage["distill"]["losses"] if isinstance(stage, dict) and "distill" in stage else ()
        names += [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    return (*dict.fromkeys(names), AUGMENT)


def arms() -> dict[str, Recipe]:
    """All recipes by name."""
    recipes = {"distilbert": with_control(read(DISTILBERT)), "tinybert": with_control(read(TINYBERT)), "chain": chain()}
    return recipes | {f"tinybert without {part}": without_part(part) for part in parts() if part != "task"}
