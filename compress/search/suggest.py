"""Values of a trial: how the engine chooses them, and how a storage keeps them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compress.config.key_path import KeyPath, quote
from compress.config.recipe import Recipe
from compress.config.search_settings import SearchSpace
from compress.config.search_space import Combination, combine, takes_whole_numbers
from compress.search.trial_source import TrialSource


def suggest_with(trial: Any) -> Callable[[str, SearchSpace, KeyPath], object]:
    """The values that the engine chooses for a trial."""

    def suggest(key: str, space: SearchSpace, path: KeyPath) -> object:
        if space.optional:
            return trial.suggest_categorical(key, [True, False])
        if space.choice is not None:
            labels = choice_labels(space.choice)
            return space.choice[labels.index(trial.suggest_categorical(key, labels))]
        assert space.low is not None  # noqa: S101  # as its validator says
        assert space.high is not None  # noqa: S101
        if space.is_whole and takes_whole_numbers(Recipe, path):
            return trial.suggest_int(key, int(space.low), int(space.high), step=int(space.step or 1), log=space.log)
        return trial.suggest_float(key, float(space.low), float(space.high), step=space.step, log=space.log)

    return suggest


def choice_labels(choice: tuple[object, ...]) -> list[object]:
    """Choices as a storage keeps them: plain values as they are, blocks and lists as numbered text."""
    plain = all(value is None or isinstance(value, bool | int | float | str) for value in choice)
    if plain and len(set(map(repr, choice))) == len(set(choice)) == len(choice):
        return list(choice)
    return [f"{index}: {quote(value)}" for index, value in enumerate(choice)]


def combination_of(source: TrialSource, parameters: Mapping[str, object], rung: int = 0) -> Combination:
    """The combination of a trial from its parameters in the storage, and its amount of training."""

    class _Fixed:
        def suggest_categorical(self, key: str, labels: list[object]) -> object:
            del labels
            return parameters[key]

        def suggest_int(self, key: str, *_: object, **__: object) -> object:
            return parameters[key]

        suggest_float = suggest_int

    return combine(source.tree, source.settings.space, suggest_with(_Fixed()), source.settings.fixed(rung))
