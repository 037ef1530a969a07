"""YAML → `Recipe`: a validated, frozen description of a run. All faults are reported at once, with their lines.

    loaded = load("resnet50_to_mobilenet.yaml", overrides=["stages.prune.target.macs=0.3"])
    loaded.recipe.stages

Reading, checking and describing a recipe imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, field_validator

from compress.config import cross_checks as checks
from compress.config import device_references as devices
from compress.config.audio_data import complete_audio_data
from compress.config.find_recipe import locate, read, shipped, shipped_folder
from compress.config.json_schema import describe
from compress.config.key_path import format_path
from compress.config.overrides import override
from compress.config.partial_recipe import DEFAULT_TASK, read_partially
from compress.config.pydantic_messages import Finding, findings, loose_numbers
from compress.config.renamed_keys import find_renamed
from compress.config.search_checks import check_objectives, check_space
from compress.config.search_settings import SearchSettings
from compress.config.task_requirements import with_task_losses
from compress.config.text_data import complete_text_data
from compress.config.tokenizer_match import check_lengths, check_tokenizers
from compress.config.tracking import Tracking
from compress.config.yaml_lines import Document, parse
from compress.config.yaml_writer import dump
from compress.core.budget import Budget
from compress.core.errors import RecipeError, ValidationIssue
from compress.core.frozen_model import FrozenModel
from compress.core.language import Language, gettext
from compress.core.latest_run import LATEST
from compress.core.registry_field import RegistryField
from compress.core.stage import Stage
from compress.data.settings import DataSettings
from compress.models.settings import ModelSettings, TeacherSettings
from compress.tasks.choice import TaskChoice, TaskField

NO_PART_OF_A_RUN = ("tracking", "language", "search")
"""Keys of a recipe that change no result of a run."""
Teachers = Annotated[tuple[TeacherSettings, ...], Field(min_length=1)]


class Recipe(FrozenModel):
    """A whole run: network, data, stages and budget.

    Attributes:
        name: Name of the run, also of its folder: lower-case letters, digits, `_` and `-`.
        seed: Seed of all random numbers without a seed of their own.
        task: What the network is for: a name of `compress methods task`, or such a name with options, as in
            `{regression: {period: 360}}`.
        data: Data source, splits and augmentation.
        model: The network to compress.
        teacher: A larger network for distillation and comparison, or a list of networks; or None.
        stages: The stages, in order; in Python `Stage` objects.
        budget: Limits for the final network; None for no verdict.
        tracking: Trackers of the run besides its record; None for none. It changes no result, and is not part of the record.
        language: Language of the run's messages and of its report: `en` or `zh`; `--lang` and the environment variable
            COMPRESS_LANG go before it. It changes no result, and is not part of the record.
        search: Search for values of the recipe, which `compress search` runs. It changes no result of the recipe, and is not
            part of the record.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    seed: int = Field(default=0, ge=0, lt=2**32)
    task: Annotated[TaskChoice, TaskField()] = DEFAULT_TASK
    data: DataSettings
    model: ModelSettings
    teacher: TeacherSettings | Teachers | None = None
    stages: tuple[Annotated[Stage, RegistryField("stage", Stage)], ...] = Field(min_length=1)
    budget: Budget | None = None
    tracking: Tracking | None = None
    language: Language | None = None
    search: SearchSettings | None = None

    @field_validator("name")
    @classmethod
    def _keep_the_name_of_the_link(cls, name: str) -> str:
        if name == LATEST:
            raise ValueError(gettext("{name} is the link to the latest run; choose another name", name=name))
        return name

    @property
    def teachers(self) -> tuple[TeacherSettings, ...]:
        """The teachers as a tuple."""
        if self.teacher is None:
            return ()
        return self.teacher if isinstance(self.teacher, tuple) else (self.teacher,)

    def smoke(self) -> Self:
        """The same recipe with minimal settings in every stage."""
        teachers = tuple(
            teacher.model_copy(update={"train": teacher.train and teacher.train.smoke()}) for teacher in self.teachers
        )
        return self.model_copy(
            update={
                "data": self.data.smoke(),
                "teacher": teachers if isinstance(self.teacher, tuple) else next(iter(teachers), None),
                "stages": tuple(stage.smoke() for stage in self.stages),
                "search": self.search and self.search.smoke(),
            }
        )


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe with its origin.

    Attributes:
        recipe: The recipe, with overrides applied.
        text: Content of the file.
        origin: The file.
        base: Folder for relative paths in the recipe: that of the recipe; for a recipe that ships with
            `compress`, the working folder.
    """

    recipe: Recipe
    text: str
    origin: Path
    base: Path


def load(
    reference: str | Path, *, overrides: Sequence[str] = (), smoke: bool = False, trust_code: bool = False
) -> LoadedRecipe:
    """Find, read and check a recipe.

    Args:
        reference: A path, or a name, with or without `.yaml`. Looked for as a path, in `./pipelines/`, and among the
            recipes that ship with `compress`.
        overrides: Changes `key=value`, such as `data.image_size=32`, `stages.prune.target.macs=0.3`, `stages.1.epochs=2`.
        smoke: Use minimal settings.
        trust_code: Whether methods named `python:FILE.py:NAME` may be loaded.

    Raises:
        RecipeError: The recipe is missing, cannot be read, or has faults; it contains all faults.
    """
    origin = locate(reference)
    base = Path.cwd() if origin.parent == shipped_folder() else origin.parent
    text = read(origin)
    recipe = loads(text, origin=str(origin), overrides=overrides, base=base, trust_code=trust_code)
    return LoadedRecipe(recipe.smoke() if smoke else recipe, text, origin, base)


def loads(
    text: str,
    *,
    origin: str = "recipe",
    overrides: Sequence[str] = (),
    base: Path | None = None,
    trust_code: bool = False,
) -> Recipe:
    """Check the text of a recipe.

    Args:
        text: YAML.
        origin: The file, for errors.
        overrides: As in `load`.
        base: Folder whose `devices/` is searched for device profiles, and that `python:` files start from; the working folder
            by default.
        trust_code: As in `load`.

    Raises:
        RecipeError: It carries every fault found.
    """
    document = parse(text, origin)
    override(document, overrides)
    recipe, findings_of_values = _validate(document.tree, base, trust_code=trust_code)
    issues = _issues(document, findings_of_values)
    if issues or recipe is None:
        raise RecipeError(origin, issues)
    return recipe


def check(recipe: Recipe, base: Path | None = None) -> None:
    """Check combinations of values: order of stages, teacher, sources and devices. `load` includes this check.

    Raises:
        RecipeError: It carries every fault found.
    """
    if issues := _check(_draft(recipe), base)[0]:
        raise RecipeError(
            gettext("recipe {name}", name=recipe.name),
            [ValidationIssue(message, format_path(path)) for path, message in issues],
        )


def targets(stages: Sequence[Stage]) -> tuple[str, ...]:
    """Names of all devices in stages, in order; `host` if there are none.

    The budget adds none, since its limits are only on devices that a stage profiles.
    """
    named = [device for stage in stages for device in devices.devices_of(stage)]
    return tuple(dict.fromkeys(named)) or ("host",)


def digest(recipe: Recipe) -> str:
    """Hash of the recipe without trackers, language and search, 12 hex digits."""
    text = json.dumps(recipe.model_dump(mode="json", exclude=set(NO_PART_OF_A_RUN)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def schema() -> dict[str, object]:
    """JSON schema (draft 2020-12) of a recipe file, for editors; the descriptions are those of the classes."""
    examples = [parse(path.read_text(encoding="utf-8"), str(path)).tree for path in shipped()]
    return describe(Recipe, title="compress recipe", examples=examples)


def resolved_yaml(recipe: Recipe) -> str:
    """The recipe with all defaults, as YAML that loads to an equal recipe.

    A stage of the caller's class is written under its class name, which is not in the registry: such a recipe can be read
    by people but not loaded.
    """
    return dump(recipe.model_dump(mode="json"))


def _validate(tree: dict[str, object], base: Path | None, *, trust_code: bool) -> tuple[Recipe | None, list[Finding]]:
    """The recipe, if its values are valid, and all issues."""
    renamed = list(find_renamed(tree))
    issues = renamed + loose_numbers(tree, Recipe)
    try:
        recipe = Recipe.model_validate(tree, context={"base": base or Path(), "trust_code": trust_code})
    except ValidationError as error:
        explained = {path[:-1] for path, _ in renamed if len(path) > 1 and isinstance(path[-2], int)}
        issues += [(path, message) for path, message in findings(error, Recipe, tree) if path not in explained]
        return None, [*issues, *_check(read_partially(tree, [path for path, _ in issues]), base)[0]]
    cross_issues, profile_names = _check(_draft(recipe), base)
    if issues or cross_issues:
        return None, [*issues, *cross_issues]
    task = recipe.task.make()
    stages = tuple(with_task_losses(stage, task) for stage in recipe.stages)
    stages, budget = devices.rename(stages, recipe.budget, profile_names, (base or Path.cwd()).absolute())
    data = complete_audio_data(recipe.data, task, (*recipe.teachers, recipe.model))
    data = complete_text_data(data, (*recipe.teachers, recipe.model), task, base or Path())
    draft, folder = _draft(recipe), base or Path()
    if text_issues := [*check_tokenizers(draft, data, folder), *check_lengths(draft, data, folder)]:
        return None, text_issues
    if recipe.search is not None:

        def faults(other: dict[str, object]) -> list[Finding]:
            return _validate(other, base, trust_code=trust_code)[1]

        objectives = check_objectives(recipe.search, task, draft.chain, profile_names)
        if search_issues := [*objectives, *check_space(tree, recipe.search, faults)]:
            return None, search_issues
    return recipe.model_copy(update={"stages": stages, "budget": budget, "data": data}), []


def _check(draft: checks.PartialRecipe, base: Path | None) -> tuple[list[Finding], devices.Names]:
    """Issues of combinations of values, and the resolved devices."""
    profile_names = devices.resolve([entry.stage for entry in draft.chain], draft.budget, base)
    return [
        *checks.check(draft, base or Path.cwd()),
        *devices.check(draft.chain, draft.budget, profile_names, base),
    ], profile_names


def _draft(recipe: Recipe) -> checks.PartialRecipe:
    several = isinstance(recipe.teacher, tuple)
    teachers = [(("teacher", index) if several else ("teacher",), teacher) for index, teacher in enumerate(recipe.teachers)]
    return checks.PartialRecipe(
        data=recipe.data,
        models=((("model",), recipe.model), *teachers),
        has_teacher=recipe.teacher is not None,
        chain=checks.entries(recipe.stages),
        budget=recipe.budget,
        task=recipe.task.make(),
        tracking=recipe.tracking,
    )


def _issues(document: Document, findings: Sequence[Finding]) -> list[ValidationIssue]:
    """Issues of the text and findings in file order, one for each key path."""
    placed = [*document.issues, *(document.issue(path, message) for path, message in findings)]
    first = {(issue.path or issue.message): issue for issue in reversed(placed)}
    unique = [issue for issue in placed if first[issue.path or issue.message] is issue]
    return sorted(unique, key=lambda issue: (issue.line is None, issue.line or 0))
