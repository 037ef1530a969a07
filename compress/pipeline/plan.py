"""Execution plan of a pipeline, from a recipe or from Python objects.

Each part has a *key*, which identifies it as JSON, and a function that *builds* it. A run in which every stage is
finished builds nothing, except networks and data of the user's code, whose keys depend on the objects that the code creates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from compress.config.key_path import format_path
from compress.config.start_form import why_not_trainable
from compress.config.task_requirements import with_task_losses
from compress.config.tokenizer_match import own_tokenizer
from compress.core.budget import Budget
from compress.core.errors import RecipeError, ValidationIssue
from compress.core.language import Language, gettext
from compress.core.registry import lookup
from compress.core.registry_field import name_of
from compress.core.run_directory import key_of
from compress.core.stage import Form, Stage
from compress.models.settings import ModelSettings
from compress.pipeline.network_plan import (
    NetworkPlan,
    as_converted,
    copies_of,
    given_file,
    needs_torch,
    network_from_teacher,
    network_of_module,
    network_of_source,
    plan_network,
)
from compress.pipeline.task_data import check_requirements, data_for_task
from compress.tasks.outputs import Outputs
from compress.train.settings import Training

if TYPE_CHECKING:
    from torch import nn

    from compress.config.recipe import LoadedRecipe
    from compress.config.tracking import Tracking
    from compress.core.network_spec import NetworkSpec
    from compress.data.interface import Data
    from compress.tasks.base import Task


@dataclass(frozen=True)
class Plan:
    """Plan of a whole run.

    Attributes:
        task: Outputs, loss and metrics of its networks.
        data_key: Identity of the data.
        load_data: Loads the data, with the outputs that the task needs.
        targets: Names of all devices that the recipe names.
        base: Folder for relative paths.
        digest: Short hash of the resolved recipe, for the name of the run directory.
        recipe: The resolved recipe without trackers, language and search, as JSON.
        recipe_text: The text of the recipe.
        trust_code: Whether `python:` sources may run.
        tracking: Trackers of the run; None for none.
        language: Language of the run's messages and of its report; None for that of the environment.
    """

    name: str
    seed: int
    task: Task
    data_key: dict[str, object]
    load_data: Callable[[], Data]
    model: NetworkPlan
    teachers: tuple[NetworkPlan, ...]
    stages: tuple[Stage, ...]
    budget: Budget | None
    targets: tuple[str, ...]
    base: Path
    digest: str
    recipe: dict[str, object]
    recipe_text: str
    trust_code: bool = False
    tracking: Tracking | None = None
    language: Language | None = None


def from_recipe(loaded: LoadedRecipe, *, trust_code: bool = False) -> Plan:
    """The plan of a recipe."""
    from compress.config.recipe import NO_PART_OF_A_RUN, digest, targets
    from compress.data import factory as sources

    recipe, base = loaded.recipe, loaded.base
    task = recipe.task.make()
    given = given_file(recipe.model.source, base)
    stage = needs_torch(recipe.stages)

    def start(spec: NetworkSpec) -> tuple[nn.Module, str]:
        plan = plan_network(recipe.model, task, recipe.seed, base, trust_code)
        return plan.build(spec)[0], key_of({**plan.key})

    load_data = cache(
        lambda: data_for_task(
            sources.load_data(recipe.data, base=base, trust_code=trust_code), task, given, converted=bool(stage), start=start
        )
    )
    data_key = {**recipe.data.model_dump(mode="json"), "fingerprint": sources.data_fingerprint(recipe.data, base)}
    if not sources.is_known(recipe.data):
        data_key["splits"] = split_fingerprints(load_data())
    teachers = recipe.teacher if isinstance(recipe.teacher, tuple) else (recipe.teacher,) if recipe.teacher else ()

    def network(settings: ModelSettings, training: Training | None = None) -> NetworkPlan:
        plan = plan_network(settings, task, recipe.seed, base, trust_code, training)
        if any(str(source).startswith("python:") for source in (settings.source, settings.architecture)):
            # the code does not show which data it reads
            copies = copies_of(*plan.build(load_data().spec))
            return replace(
                plan, key={**plan.key, **copies.key}, build=copies.build, build_architecture=copies.build_architecture
            )
        return plan

    taught = tuple(
        replace(as_converted(network(teacher, teacher.train), "teacher"), tokenizer=own_tokenizer(recipe.data, teacher, base))
        for teacher in teachers
    )
    model = as_converted(network(recipe.model), stage)
    if recipe.model.needs_teacher:
        model = network_from_teacher(recipe.model, model, taught)
    return Plan(
        name=recipe.name,
        seed=recipe.seed,
        task=task,
        data_key=data_key,
        load_data=load_data,
        model=model,
        teachers=taught,
        stages=recipe.stages,
        budget=recipe.budget,
        targets=targets(recipe.stages),
        base=base,
        digest=digest(recipe),
        recipe=recipe.model_dump(mode="json", exclude=set(NO_PART_OF_A_RUN)),
        recipe_text=loaded.text,
        trust_code=trust_code,
        tracking=recipe.tracking,
        language=recipe.language,
    )


def split_fingerprints(data: Data) -> list[str]:
    """Fingerprints of the three splits, and of the groups of the test samples, if there are any."""
    groups = [hashlib.sha256("\0".join(data.groups).encode()).hexdigest()] if data.groups else []
    return [*(split.fingerprint for split in (data.train, data.validation, data.test)), *groups]


def from_objects(  # each argument is one of `Pipeline`, the public API
    name: str,
    model: nn.Module | str,
    data: Data,
    stages: Sequence[Stage],
    *,
    task: str | Task = "classification",
    teachers: Sequence[nn.Module] = (),
    budget: Budget | None = None,
    seed: int = 0,
    tracking: Tracking | None = None,
    language: Language | None = None,
) -> Plan:
    """The plan of a pipeline from Python objects: network, loaders and stages.

    Raises:
        DataError: The data are for another task.
        RecipeError: The stages do not fit together; every fault is listed.
        ModelError: A network cannot be used.
    """
    from compress.config.recipe import targets

    task = _task(task)
    given = given_file(model, Path.cwd()) if isinstance(model, str) else None
    stage = needs_torch(stages)
    if given is not None and stage and (reason := why_not_trainable(given, stage)):
        raise RecipeError(gettext("pipeline {name!r}", name=name), [ValidationIssue(reason, "model")])
    data = data_for_task(data, task, given, converted=bool(stage), start=lambda spec: _reference(model, spec))
    stages = tuple(with_task_losses(stage, task) for stage in stages)
    check_requirements(name, task, data, stages)
    form: Form = "torch" if given is None or stage else "onnx"
    stages, budget = _validate(name, stages, budget, task, has_teacher=bool(teachers), form=form)
    teacher_networks = [network_of_module(module, data.spec) for module in teachers]
    if isinstance(model, str):
        network = network_of_source(model, task, seed, stage)
        if (settings := ModelSettings(source=model)).needs_teacher:
            network = network_from_teacher(settings, network, teacher_networks)
    else:
        network = network_of_module(model, data.spec)
    data_key: dict[str, object] = {"source": data.source, "fingerprints": split_fingerprints(data)}
    recipe: dict[str, object] = {
        "name": name,
        "seed": seed,
        "task": task.key,
        "data": data_key,
        "model": network.key,
        "teacher": [teacher.key for teacher in teacher_networks],
        "stages": [{name_of("stage", stage): stage.model_dump(mode="json")} for stage in stages],
        "budget": budget.model_dump(mode="json") if budget else None,
    }
    return Plan(
        name=name,
        seed=seed,
        task=task,
        data_key=data_key,
        load_data=lambda: data,
        model=network,
        teachers=tuple(teacher_networks),
        stages=stages,
        budget=budget,
        targets=targets(stages),
        base=Path.cwd(),
        digest=key_of(recipe)[:12],
        recipe=recipe,
        recipe_text="",
        tracking=tracking,
        language=language,
    )


def _reference(model: nn.Module | str, spec: NetworkSpec) -> tuple[nn.Module, str]:
    """A copy of the network that the caller gave, to compare with, and what identifies its weights."""
    network = network_of_source(model, Outputs(), 0, "") if isinstance(model, str) else network_of_module(model, spec)
    return network.build(spec)[0], key_of({**network.key})


def _task(task: str | Task) -> Task:
    """A task by its name, or as it is."""
    if not isinstance(task, str):
        return task
    loaded: Task = lookup("task", task).load()()
    return loaded


def _validate(
    name: str, stages: Sequence[Stage], budget: Budget | None, task: Task, *, has_teacher: bool, form: Form
) -> tuple[tuple[Stage, ...], Budget | None]:
    """Check stages and limits; returns them with the profile name of every device.

    Raises:
        RecipeError: An invalid order, a missing teacher, an unknown device, a limit that no stage measures or
            on a metric that the task does not have.
    """
    from compress.config import cross_checks as checks
    from compress.config import device_references as devices

    chain = checks.entries(stages)
    resolved = devices.resolve(stages, budget, None)
    issues = [
        *checks.check_order(chain, form),
        *checks.check_teacher(chain, has_teacher=has_teacher),
        *devices.check(chain, budget, resolved),
        *checks.check_metric_limits(chain, budget, task),
    ]
    if issues:
        raise RecipeError(
            gettext("pipeline {name!r}", name=name), [ValidationIssue(message, format_path(path)) for path, message in issues]
        )
    return devices.rename(stages, budget, resolved, Path.cwd())
