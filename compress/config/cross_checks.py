"""What can be wrong with a recipe whose every value is fine by itself.

The order of stages, a teacher that is not there, a source that does not exist: found before any weight is loaded, and
without torch.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from compress.config.validation_messages import Finding
from compress.config.yaml_lines import KeyPath
from compress.core.budget import Budget
from compress.core.errors import CompressError, nearest
from compress.core.registry_field import name_of
from compress.core.stage import Form, Stage
from compress.data.settings import DataSettings
from compress.data.source_string import parse_source
from compress.models.settings import ModelSettings
from compress.train.loss_term import LossTerm
from compress.train.settings import FinetuneSettings

_FUNCTION = re.compile(r"^python:.+\.py:[A-Za-z_]\w*$")
_FORMS: dict[Form, str] = {"torch": "a torch network", "onnx": "an ONNX file"}


@dataclass(frozen=True)
class StageEntry:
    """One entry of `stages:`, as far as it could be read.

    Attributes:
        place: Where its parameters stand.
        name: Its name in the recipe.
        kind: Its class.
        stage: The stage; None when its parameters are faulty.
    """

    place: KeyPath
    name: str
    kind: type[Stage]
    stage: Stage | None


@dataclass(frozen=True)
class PartialRecipe:
    """A recipe, as far as it could be read.

    Attributes:
        data: None when faulty, like everything else here.
        models: The network and the teachers, each with its place.
        has_teacher: Whether there is a teacher, faulty or not.
        chain: The stages that are known.
        budget: The limits.
    """

    data: DataSettings | None
    models: tuple[tuple[KeyPath, ModelSettings], ...]
    has_teacher: bool
    chain: tuple[StageEntry, ...]
    budget: Budget | None


def check(draft: PartialRecipe) -> Iterator[Finding]:
    """All checks of this file."""
    if draft.data is not None:
        yield from check_data_source(draft.data.source)
    for place, settings in draft.models:
        yield from check_model(place, settings)
    yield from check_order(draft.chain)
    yield from check_teacher(draft.chain, has_teacher=draft.has_teacher)


def entries(stages: Sequence[Stage]) -> tuple[StageEntry, ...]:
    """Entries of stages that were read or made without fault."""
    named = [(name_of("stage", stage), stage) for stage in stages]
    return tuple(StageEntry(("stages", index, name), name, type(stage), stage) for index, (name, stage) in enumerate(named))


def check_order(chain: Sequence[StageEntry]) -> Iterator[Finding]:
    """Each stage against the form that the stages before it leave."""
    form: Form = "torch"
    maker: StageEntry | None = None
    for entry in chain:
        if form not in entry.kind.accepts:
            yield entry.place, _misplaced(entry, form, maker)
        if entry.kind.produces != "same" and entry.kind.produces != form:
            form, maker = entry.kind.produces, entry


def _misplaced(entry: StageEntry, form: Form, maker: StageEntry | None) -> str:
    needs = " or ".join(_FORMS[each] for each in entry.kind.accepts)
    if maker is None:
        return f"{entry.name} needs {needs}, but the recipe starts from {_FORMS[form]}; put a stage that makes one before it"
    return f"{entry.name} needs {needs}, but {maker.name} before it gives {_FORMS[form]}; move {entry.name} before {maker.name}"


def check_teacher(chain: Sequence[StageEntry], *, has_teacher: bool) -> Iterator[Finding]:
    """Stages that ask for the recipe's teacher, where it has none."""
    if has_teacher:
        return
    advice = "the recipe has no teacher; add `teacher: {source: …, train: {…}}`"
    for entry in chain:
        for field in type(entry.stage).model_fields if entry.stage else ():
            value = getattr(entry.stage, field)
            if isinstance(value, FinetuneSettings) and value.teacher == "teacher":
                yield (*entry.place, field, "teacher"), f"{entry.name} recovers with the teacher, but {advice}, or use parent"
        if getattr(entry.stage, "asks_teacher", False):
            yield (*entry.place, "teacher"), f"{entry.name} asks the recipe's teacher, but {advice}, or say teacher: parent"
        if _learns_from_teacher(entry.stage):
            yield entry.place, f"{entry.name} imitates a teacher, but {advice}, or train alone with a `train` stage"


def _learns_from_teacher(stage: Stage | None) -> bool:
    """Whether its own losses need answers that only the recipe's teacher can give."""
    losses: tuple[LossTerm, ...] = getattr(stage, "losses", ())
    teacher = getattr(stage, "teacher", "teacher")
    asked = teacher == "teacher" or getattr(teacher, "uses_recipe_teacher", False)
    return asked and any(term.needs and term.weight > 0 for term in losses)


def check_data_source(source: str) -> Iterator[Finding]:
    """The data source's name and shape."""
    place: KeyPath = ("data", "source")
    try:
        origin = parse_source(source, Path())
    except CompressError as error:
        yield place, str(error)
    else:
        if origin.name == "python":
            yield from _check_function(place, source)


def check_model(place: KeyPath, settings: ModelSettings) -> Iterator[Finding]:
    """What a network's settings do not see for themselves: torchvision's names, and the shape of a function's address."""
    for field in ("source", "architecture"):
        source = getattr(settings, field)
        kind, _, name = (source or "").partition(":")
        if kind == "python":
            yield from _check_function((*place, field), source)
        elif kind == "torchvision" and torchvision_names() and name not in torchvision_names():
            yield (*place, field), f"unknown torchvision network {name!r}: {nearest(name.lower(), torchvision_names())}"


def _check_function(place: KeyPath, source: str) -> Iterator[Finding]:
    if not _FUNCTION.match(source):
        yield place, f"a function of your own is written python:FILE.py:FUNCTION, got {source!r}"


@cache
def torchvision_names() -> tuple[str, ...]:
    """Names of torchvision's classification networks, read from its files without importing it; empty if not installed."""
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return ()
    registered = re.compile(r"^@register_model\(\)\n(?:[^\n]*\n)*?def (\w+)\(", re.MULTILINE)
    files = sorted((Path(found.origin).parent / "models").glob("*.py"))
    return tuple(sorted(name for file in files for name in registered.findall(file.read_text(encoding="utf-8"))))
