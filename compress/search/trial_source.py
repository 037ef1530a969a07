"""What the trials of a search are made from: a recipe as plain values, or a pipeline from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from compress.config.overrides import override
from compress.config.recipe import NO_PART_OF_A_RUN, LoadedRecipe, load, loads
from compress.config.search_checks import check_space
from compress.config.search_settings import SearchSettings
from compress.config.search_space import Tree
from compress.config.yaml_lines import parse
from compress.config.yaml_writer import dump
from compress.core.errors import CompressError, RecipeError, SearchError, ValidationIssue
from compress.core.language import gettext
from compress.core.record import Metric
from compress.core.registry import lookup, names
from compress.core.registry_field import name_of
from compress.core.run_directory import key_of
from compress.core.stage import Stage
from compress.pipeline.plan import Plan, from_recipe

if TYPE_CHECKING:
    from compress.pipeline.pipeline import Pipeline


class TrialSource(Protocol):
    """Makes plans of trials.

    Attributes:
        name: Name of the recipe.
        seed: Its seed.
        settings: The search.
        tree: The recipe as plain values.
        smoke: Whether trials run at toy size.
        metrics: Metrics of the task.
    """

    name: str
    seed: int
    settings: SearchSettings
    tree: Tree
    smoke: bool
    metrics: tuple[Metric, ...]

    def plan(self, tree: Tree) -> Plan:
        """The plan of a combination.

        Raises:
            CompressError: The combination is no valid recipe.
        """

    def write(self, tree: Tree) -> str:
        """A combination as a recipe file."""


class RecipeSource:
    """Trials of a recipe file.

    Args:
        recipe: Path or name, as for `compress pipeline`.
        overrides: Changes `key=value`.
        smoke: Run trials with minimal settings.
        trust_code: Allow `python:` sources.

    Raises:
        RecipeError: The recipe has faults, or no `search:`.
    """

    def __init__(
        self, recipe: str | Path, *, overrides: Sequence[str] = (), smoke: bool = False, trust_code: bool = False
    ) -> None:
        self.loaded = load(recipe, overrides=overrides, smoke=smoke, trust_code=trust_code)
        if self.loaded.recipe.search is None:
            advice = gettext(
                "the recipe has no search; add `search: {space: {KEY: {low: …, high: …}}, objectives: [accuracy]}`"
            )
            raise RecipeError(str(self.loaded.origin), [ValidationIssue(advice, "search")])
        document = parse(self.loaded.text, str(self.loaded.origin))
        override(document, overrides)
        self.tree = {key: value for key, value in document.tree.items() if key not in NO_PART_OF_A_RUN}
        self.name, self.seed, self.settings = self.loaded.recipe.name, self.loaded.recipe.seed, self.loaded.recipe.search
        self.smoke, self.trust_code = smoke, trust_code
        self.metrics = tuple(metric.info for metric in self.loaded.recipe.task.make().metrics)

    def plan(self, tree: Tree) -> Plan:
        """The plan of a combination, which is read from the text that `write` gives."""
        text = dump(tree)
        recipe = loads(text, origin=self.name, base=self.loaded.base, trust_code=self.trust_code)
        made = LoadedRecipe(recipe.smoke() if self.smoke else recipe, text, self.loaded.origin, self.loaded.base)
        return from_recipe(made, trust_code=self.trust_code)

    def write(self, tree: Tree) -> str:
        """The text of a combination."""
        return dump(tree)


class PipelineSource:
    """Trials of a pipeline from Python, whose stages are searched.

    Args:
        pipeline: The pipeline.
        settings: The search; its key paths begin with `stages`.

    Raises:
        RecipeError: The space contains stages that are not valid.
    """

    def __init__(self, pipeline: Pipeline, settings: SearchSettings) -> None:
        self._plan = pipeline.plan
        self.name, self.seed, self.settings, self.smoke = pipeline.plan.name, pipeline.plan.seed, settings, pipeline.smoke
        self.metrics = tuple(metric.info for metric in pipeline.plan.task.metrics)
        self._kinds = {name_of("stage", stage): type(stage) for stage in pipeline.plan.stages}
        self.tree: Tree = {
            "stages": [{name_of("stage", stage): stage.model_dump(mode="json")} for stage in pipeline.plan.stages]
        }

        def faults(tree: Tree) -> list[tuple[tuple[str | int, ...], str]]:
            try:
                self._stages(tree)
            except (CompressError, ValueError) as error:
                return [(("stages",), " ".join(str(error).split())[:300])]
            return []

        issues = list(check_space(self.tree, settings, faults))
        if issues:
            raise RecipeError(self.name, [ValidationIssue(message, ".".join(map(str, path))) for path, message in issues])

    def plan(self, tree: Tree) -> Plan:
        """The plan with the stages of a combination."""
        stages = self._stages(tree)
        written = [{name_of("stage", stage): stage.model_dump(mode="json")} for stage in stages]
        recipe = {**self._plan.recipe, "stages": written}
        return replace(self._plan, stages=stages, recipe=recipe, digest=key_of(recipe)[:12])

    def write(self, tree: Tree) -> str:
        """The stages of a combination as YAML; the network and the data are Python objects."""
        return dump(tree)

    def _stages(self, tree: Tree) -> tuple[Stage, ...]:
        entries = tree["stages"]
        assert isinstance(entries, list)  # noqa: S101  # as `__init__` made it
        return tuple(self._kind(name).model_validate(settings or {}) for entry in entries for name, settings in entry.items())

    def _kind(self, name: str) -> type[Stage]:
        if name in self._kinds:
            return self._kinds[name]
        if name not in names("stage"):
            raise SearchError(gettext("no stage is called {name!r}", name=name))
        kind: type[Stage] = lookup("stage", name).load()
        return kind
