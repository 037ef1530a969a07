"""Checks of combinations of recipe values: order of stages, missing teacher, limits without a reference.

They run before any weight is loaded, and without torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from compress.config.detector_stages import check_stages
from compress.config.key_path import KeyPath
from compress.config.pydantic_messages import Finding
from compress.config.source_checks import check_data_source, check_model, check_original, check_weights_file, with_towers
from compress.config.start_form import first_torch_stage, start_form, why_no_teacher, why_not_trainable
from compress.config.task_requirements import check_task, with_task_losses
from compress.config.text_augmentation import check_augmentation
from compress.config.text_data import check_generated, check_text_data
from compress.config.tracking import Tracking, check_tracking
from compress.core.budget import Budget
from compress.core.errors import CompressError, MissingPackageError
from compress.core.language import gettext
from compress.core.metric_limits import MetricLimits
from compress.core.registry_field import name_of
from compress.core.stage import Form, Stage
from compress.core.user_path import user_path
from compress.data.settings import DataSettings
from compress.models.settings import ModelSettings, split_source
from compress.tasks.base import Task
from compress.train.loss_term import LossTerm
from compress.train.settings import FinetuneSettings

if TYPE_CHECKING:
    from compress.tasks.base import Task

PACKAGES = {
    "tracker": {"tensorboard": ("tensorboard", "tensorboard")},
    "file": {".parquet": ("pyarrow", "parquet")},
}
"""Package and extra, by field and suffix of its value."""
_FORMS: dict[Form, str] = {"torch": "a torch network", "onnx": "an ONNX file"}


@dataclass(frozen=True)
class StageEntry:
    """An entry of `stages:`.

    Attributes:
        path: Key path of its parameters.
        name: Name in the recipe.
        kind: Class of the stage.
        stage: The stage; None if its parameters are faulty.
    """

    path: KeyPath
    name: str
    kind: type[Stage]
    stage: Stage | None


@dataclass(frozen=True)
class PartialRecipe:
    """The valid parts of a recipe.

    Attributes:
        data: Data settings; None if faulty, as for all other fields.
        models: Networks and teachers with their key paths.
        has_teacher: Whether there is a teacher, faulty or not.
        chain: The known stages.
        budget: The limits.
        task: The task.
        tracking: The trackers.
    """

    data: DataSettings | None
    models: tuple[tuple[KeyPath, ModelSettings], ...]
    has_teacher: bool
    chain: tuple[StageEntry, ...]
    budget: Budget | None
    task: Task | None
    tracking: Tracking | None = None


def check(draft: PartialRecipe, base: Path) -> Iterator[Finding]:
    """All checks of a recipe; relative paths are relative to `base`."""
    if draft.data is not None:
        yield from check_data_source(draft.data.source)
        yield from check_text_data(draft.data, draft.models)
        if draft.task is not None:
            yield from check_generated(draft.data, draft.task)
    for path, settings in with_towers(draft.models):
        yield from check_model(path, settings)
        yield from check_weights_file(path, settings, base)
    model = dict(draft.models).get(("model",))
    yield from check_order(draft.chain, start_form(model.form if model is not None else "torch", torch_stage(draft.chain)))
    yield from check_given_file(draft, base)
    if model is not None and draft.task is not None and draft.task.name == "outputs":
        yield from check_original(model)
    if model is not None and model.needs_teacher and not draft.has_teacher:
        advice = gettext("the recipe has no teacher; add `teacher: {source: …, train: {…}}`")
        yield ("model", "source"), gettext("{source} starts from the teacher, but {advice}", source=model.source, advice=advice)
    yield from check_teacher(draft.chain, has_teacher=draft.has_teacher)
    stages = [(entry.path, entry.stage) for entry in draft.chain if entry.stage is not None]
    yield from check_augmentation(draft.data, draft.task, stages, has_teacher=draft.has_teacher)
    yield from check_reference(draft)
    yield from check_packages(draft.chain)
    yield from check_tracking(draft.tracking)
    if draft.task is not None:
        data: list[tuple[KeyPath, BaseModel]] = [] if draft.data is None else [(("data",), draft.data)]
        blocks = [(entry.path, with_task_losses(entry.stage, draft.task)) for entry in draft.chain if entry.stage is not None]
        yield from check_task(draft.task, [*data, *draft.models, *blocks])
        yield from check_metric_limits(draft.chain, draft.budget, draft.task)
        if draft.task.name == "detection":
            yield from _check_detector_stages(draft)


def _check_detector_stages(draft: PartialRecipe) -> Iterator[Finding]:
    """Losses on logits between detectors of one and of two stages; the teacher of a stage is that of the recipe."""
    model = dict(draft.models).get(("model",))
    for path, teacher in draft.models:
        if model is not None and path[0] == "teacher":
            for entry in draft.chain:
                if uses_teacher(entry.stage):
                    yield from check_stages(model, teacher, _blocks(entry.path, entry.stage))


def entries(stages: Sequence[Stage]) -> tuple[StageEntry, ...]:
    """Entries of valid stages."""
    named = [(name_of("stage", stage), stage) for stage in stages]
    return tuple(StageEntry(("stages", index, name), name, type(stage), stage) for index, (name, stage) in enumerate(named))


def torch_stage(chain: Sequence[StageEntry]) -> str:
    """Name of the first stage that needs a torch network; empty where none does, see `first_torch_stage`."""
    return first_torch_stage((entry.name, entry.kind, entry.stage) for entry in chain)


def check_order(chain: Sequence[StageEntry], form: Form = "torch") -> Iterator[Finding]:
    """Stages that do not accept the output form of the stages before them; the chain starts with `form`."""
    maker: StageEntry | None = None
    for entry in chain:
        is_given_file = form == "onnx" and maker is None
        if form not in entry.kind.accepts and not (is_given_file and entry.kind.takes_given_file):
            yield entry.path, _misplaced(entry, form, maker)
        if entry.kind.produces != "same" and (entry.kind.produces != form or is_given_file):
            form, maker = entry.kind.produces, entry


def _misplaced(entry: StageEntry, form: Form, maker: StageEntry | None) -> str:
    needs = gettext(" or ").join(gettext(_FORMS[form_name]) for form_name in entry.kind.accepts)
    if maker is None:
        return gettext(
            "{name} needs {needs}, but the recipe starts from {forms}; add a stage before it that produces one",
            name=entry.name,
            needs=needs,
            forms=gettext(_FORMS[form]),
        )
    return gettext(
        "{name} needs {needs}, but {maker_name} before it produces {forms}; move {name} before {maker_name}",
        name=entry.name,
        needs=needs,
        maker_name=maker.name,
        forms=gettext(_FORMS[form]),
    )


def check_teacher(chain: Sequence[StageEntry], *, has_teacher: bool) -> Iterator[Finding]:
    """Stages that need a teacher, in a recipe without one."""
    if has_teacher:
        return
    advice = gettext("the recipe has no teacher; add `teacher: {source: …, train: {…}}`")
    for entry in chain:
        for field in type(entry.stage).model_fields if entry.stage else ():
            value = getattr(entry.stage, field)
            if isinstance(value, FinetuneSettings) and value.teacher == "teacher":
                yield (
                    (*entry.path, field, "teacher"),
                    gettext("{name} recovers with the teacher, but {advice}, or use parent", name=entry.name, advice=advice),
                )
        if getattr(entry.stage, "asks_teacher", False):
            yield (
                (*entry.path, "teacher"),
                gettext(
                    "{name} uses the teacher of the recipe, but {advice}, or use teacher: parent",
                    name=entry.name,
                    advice=advice,
                ),
            )
        if _lets_teacher_write(entry.stage):
            yield (
                (*entry.path, "writer"),
                gettext("{name} lets the teacher write, but {advice}, or use writer: parent", name=entry.name, advice=advice),
            )
        if _learns_from_teacher(entry.stage):
            yield (
                entry.path,
                gettext(
                    "{name} needs a teacher, but {advice}, or train without one by a `train` stage",
                    name=entry.name,
                    advice=advice,
                ),
            )


def check_given_file(draft: PartialRecipe, base: Path) -> Iterator[Finding]:
    """Stages that train a given file, and teachers from files, with operators that have no gradients here."""
    stage = torch_stage(draft.chain)
    for path, settings in draft.models:
        is_start = path == ("model",)
        if settings.form != "onnx" or (is_start and not stage):
            continue
        try:
            file = user_path(split_source(settings.source)[1], base)
        except CompressError:
            continue  # a finding of `check_weights_file`
        reason = None
        if file.is_file():
            reason = why_not_trainable(file, stage) if is_start else why_no_teacher(file)
        if reason:
            yield (*path, "source"), reason


def check_reference(draft: PartialRecipe) -> Iterator[Finding]:
    """A limit on the loss of a metric in a recipe without a trained reference."""
    model = dict(draft.models).get(("model",))
    limits = draft.budget.loss_limits if draft.budget else ()
    if not limits or draft.has_teacher or model is None or model.trained:
        return
    before = takewhile(lambda entry: not entry.kind.compresses, draft.chain)
    if not any(entry.kind.trains for entry in before):
        advice = gettext(
            "add a teacher, start from trained weights, or put a `train` stage before the first stage that compresses"
        )
        for name in limits:
            yield (
                ("budget", name),
                gettext("there is no trained network as reference, so this limit cannot pass; {advice}", advice=advice),
            )


def check_metric_limits(chain: Sequence[StageEntry], budget: Budget | None, task: Task) -> Iterator[Finding]:
    """Limits on unknown metrics of the task, and impossible bounds."""
    blocks = [(("budget",), budget), *((entry.path, entry.stage) for entry in chain)]
    metrics = [metric.info for metric in task.metrics]
    for start, settings in blocks:
        for path, block in _blocks(start, settings):
            for name, sentence in block.faults(task.name, metrics) if isinstance(block, MetricLimits) else ():
                yield (*path, name), sentence


def check_packages(chain: Sequence[StageEntry]) -> Iterator[Finding]:
    """Missing optional packages that a setting needs."""
    for entry in chain:
        for path, block in _blocks(entry.path, entry.stage):
            if getattr(block, "lora", None) is not None and importlib.util.find_spec("peft") is None:
                yield (*path, "lora"), str(MissingPackageError("peft", "lora", "lora"))
            for field, values in PACKAGES.items():
                value = str(getattr(block, field, None))
                package, extra = next((needed for ending, needed in values.items() if value.endswith(ending)), ("", ""))
                if package and importlib.util.find_spec(package) is None:
                    yield (*path, field), str(MissingPackageError(package, extra, f"{field}: {value}"))


def _blocks(path: KeyPath, value: object) -> Iterator[tuple[KeyPath, BaseModel]]:
    """A block of settings and all blocks in it, with their key paths."""
    if isinstance(value, BaseModel):
        yield path, value
        for field in type(value).model_fields:
            yield from _blocks((*path, field), getattr(value, field))
    elif isinstance(value, tuple):
        for index, member in enumerate(value):
            yield from _blocks((*path, index), member)


def uses_teacher(stage: Stage | None) -> bool:
    """Whether a stage, or its recovery, learns from the teacher of the recipe."""
    fields = type(stage).model_fields if stage else ()
    values = [getattr(stage, field) for field in fields]
    recovers = any(isinstance(value, FinetuneSettings) and value.teacher == "teacher" for value in values)
    return recovers or _lets_teacher_write(stage) or _learns_from_teacher(stage)


def teacher_terms(entry: StageEntry) -> Iterator[tuple[KeyPath, LossTerm]]:
    """Losses of a stage, and of its recovery, that compare with the teacher of the recipe, with their key paths."""
    stage = entry.stage
    groups: list[tuple[KeyPath, tuple[LossTerm, ...]]] = []
    for field in type(stage).model_fields if stage else ():
        value = getattr(stage, field)
        if isinstance(value, FinetuneSettings) and value.teacher == "teacher":
            groups.append(((*entry.path, field, "losses"), value.losses))
    if _learns_from_teacher(stage):
        groups.append(((*entry.path, "losses"), getattr(stage, "losses", ())))
    for path, terms in groups:
        for index, term in enumerate(terms):
            if term.needs and term.weight > 0:
                yield (*path, index), term


def _lets_teacher_write(stage: Stage | None) -> bool:
    """Whether the teacher of the recipe writes texts in it."""
    return bool(getattr(getattr(stage, "writer", None), "uses_recipe_teacher", False))


def _learns_from_teacher(stage: Stage | None) -> bool:
    """Whether its losses need outputs of the teacher of the recipe."""
    losses: tuple[LossTerm, ...] = getattr(stage, "losses", ())
    teacher = getattr(stage, "teacher", "teacher")
    uses_recipe_teacher = teacher == "teacher" or getattr(teacher, "uses_recipe_teacher", False)
    writes = getattr(getattr(stage, "generation", None), "uses_teacher", False)
    return uses_recipe_teacher and (writes or any(term.needs and term.weight > 0 for term in losses))
