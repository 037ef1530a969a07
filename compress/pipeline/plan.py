"""What a pipeline is about to do, whether it came from a recipe or from Python objects.

Each part is a *key* (what identifies it, as JSON, found without torch) and a way to *make* it. A run in which every
stage is already finished makes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.budget import Budget
from compress.core.errors import Fault, RecipeError
from compress.core.record import InputSpec
from compress.core.stage import Stage
from compress.train.settings import Training

if TYPE_CHECKING:
    from torch import nn

    from compress.config.recipe import LoadedRecipe
    from compress.data.interface import Data
    from compress.models.settings import ModelSettings

MakeNetwork = Callable[[InputSpec], "tuple[nn.Module, tuple[str, ...]]"]


@dataclass(frozen=True)
class NetworkPlan:
    """One network.

    Attributes:
        key: What identifies it.
        make: Network with its first weights, and notes on how it was fitted.
        architecture: The same network, whatever its weights: the reference that checkpoints are read against.
        trained: Whether its first weights are worth measuring.
        training: How to train it before use (teachers).
    """

    key: dict[str, Any]
    make: MakeNetwork
    architecture: MakeNetwork
    trained: bool
    training: Training | None = None


@dataclass(frozen=True)
class Plan:
    """A whole run, described."""

    name: str
    seed: int
    task: str
    data_key: dict[str, Any]
    make_data: Callable[[], Data]
    model: NetworkPlan
    teachers: tuple[NetworkPlan, ...]
    stages: tuple[Stage, ...]
    budget: Budget | None
    targets: tuple[str, ...]
    base: Path
    digest: str
    recipe: dict[str, Any]
    recipe_text: str
    trust_code: bool = False


def from_recipe(loaded: LoadedRecipe, *, trust_code: bool = False) -> Plan:
    """The plan of a recipe."""
    from compress.config.recipe import digest, targets
    from compress.data import factory as sources

    recipe, base = loaded.recipe, loaded.base
    teachers = recipe.teacher if isinstance(recipe.teacher, tuple) else (recipe.teacher,) if recipe.teacher else ()
    return Plan(
        name=recipe.name,
        seed=recipe.seed,
        task=recipe.task,
        data_key={**recipe.data.model_dump(mode="json"), "fingerprint": sources.fingerprint(recipe.data, base)},
        make_data=lambda: sources.load(recipe.data, base=base, trust_code=trust_code),
        model=_network(recipe.model, recipe.seed, base, trust_code),
        teachers=tuple(_network(each, recipe.seed, base, trust_code, each.train) for each in teachers),
        stages=recipe.stages,
        budget=recipe.budget,
        targets=targets(recipe.stages),
        base=base,
        digest=digest(recipe),
        recipe=recipe.model_dump(mode="json"),
        recipe_text=loaded.text,
        trust_code=trust_code,
    )


def _network(settings: ModelSettings, seed: int, base: Path, trust_code: bool, training: Training | None = None) -> NetworkPlan:
    from compress.models import factory as sources

    def made(chosen: ModelSettings) -> MakeNetwork:
        def make(spec: InputSpec) -> tuple[nn.Module, tuple[str, ...]]:
            built = sources.build(chosen, spec, seed=seed, base=base, trust_code=trust_code)
            return built.module, built.notes

        return make

    return NetworkPlan(
        key={"settings": settings.model_dump(mode="json"), "source": sources.fingerprint(settings, base)},
        make=made(settings),
        architecture=made(_without_weights(settings)),
        trained=settings.weights is not None or settings.source.startswith(("file:", "python:")),
        training=training,
    )


def _without_weights(settings: ModelSettings) -> ModelSettings:
    update: dict[str, Any] = {"weights": None}
    if settings.source.startswith("file:") and settings.architecture:
        update |= {"source": settings.architecture, "architecture": None}
    return settings.model_copy(update=update)


def from_objects(
    name: str,
    model: nn.Module,
    data: Data,
    stages: Sequence[Stage],
    *,
    teachers: Sequence[nn.Module] = (),
    budget: Budget | None = None,
    seed: int = 0,
    task: str = "classification",
) -> Plan:
    """The plan of a pipeline made in Python from the caller's own network, loaders and stages.

    Raises:
        RecipeError: The stages do not fit together; every fault is listed.
    """
    from compress.config.recipe import targets
    from compress.core.registry_field import name_of
    from compress.core.run_directory import key_of

    stages, budget = _checked(name, stages, budget, has_teacher=bool(teachers))
    recipe: dict[str, Any] = {
        "name": name,
        "seed": seed,
        "task": task,
        "data": {"source": data.source, "fingerprints": [s.fingerprint for s in (data.train, data.validation, data.test)]},
        "model": _object_key(model),
        "teacher": [_object_key(teacher) for teacher in teachers],
        "stages": [{name_of("stage", stage): stage.model_dump(mode="json")} for stage in stages],
        "budget": budget.model_dump(mode="json") if budget else None,
    }
    return Plan(
        name=name,
        seed=seed,
        task=task,
        data_key=recipe["data"],
        make_data=lambda: data,
        model=_given(model),
        teachers=tuple(_given(teacher) for teacher in teachers),
        stages=stages,
        budget=budget,
        targets=targets(stages),
        base=Path.cwd(),
        digest=key_of(recipe)[:12],
        recipe=recipe,
        recipe_text="",
    )


def _given(module: nn.Module) -> NetworkPlan:
    def make(spec: InputSpec) -> tuple[nn.Module, tuple[str, ...]]:  # noqa: ARG001
        return copy.deepcopy(module).cpu().eval(), ()

    return NetworkPlan(key=_object_key(module), make=make, architecture=make, trained=True)


def _object_key(module: nn.Module) -> dict[str, Any]:
    from compress.train.teachers.cached_logits import weights_hash

    return {"class": f"{type(module).__module__}.{type(module).__qualname__}", "weights": weights_hash(module)}


def _checked(
    name: str, stages: Sequence[Stage], budget: Budget | None, *, has_teacher: bool
) -> tuple[tuple[Stage, ...], Budget | None]:
    """The stages and limits, with every device under its own name.

    Raises:
        RecipeError: An impossible order, a teacher that is not there, an unknown device, a limit that nobody measures.
    """
    from compress.config import cross_checks as checks
    from compress.config import device_references as devices
    from compress.config.yaml_lines import spell

    chain = checks.entries(stages)
    own = devices.resolve(stages, budget, None)
    found = [
        *checks.check_order(chain),
        *checks.check_teacher(chain, has_teacher=has_teacher),
        *devices.check(chain, budget, own),
    ]
    if found:
        raise RecipeError(f"pipeline {name!r}", [Fault(message, spell(place)) for place, message in found])
    return devices.rename(stages, budget, own, Path.cwd())
