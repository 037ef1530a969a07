"""Checks of the `search:` block: objectives that nothing measures, and spaces that contain an invalid recipe."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from compress.config.cross_checks import StageEntry
from compress.config.device_references import Names, devices_of
from compress.config.key_path import format_path, quote
from compress.config.pydantic_messages import Finding
from compress.config.search_settings import SIZES, SearchSettings, SearchSpace, objective_parts
from compress.config.search_space import AS_WRITTEN, Combination, Tree, combine, parts_of
from compress.core.errors import nearest
from compress.core.language import gettext

if TYPE_CHECKING:
    from compress.tasks.base import Task

MOST_COMBINATIONS = 64
"""Most combinations that are checked: all of them in a small space, else a random part beside each value alone."""
MOST_FINDINGS = 5

Values = Mapping[str, object]


def check_objectives(
    search: SearchSettings, task: Task, chain: Sequence[StageEntry], profile_names: Names
) -> Iterator[Finding]:
    """Unknown objectives, objectives that are named twice, and devices that no stage profiles."""
    metrics = [metric.info.name for metric in task.metrics]
    profiled = {name for entry in chain if entry.name == "profile" for name in devices_of(entry.stage)}
    profiled |= {str(profile_names[name]) for name in profiled}
    for index, objective in enumerate(search.objectives):
        path = ("search", "objectives", index)
        name, device = objective_parts(objective)
        if objective in search.objectives[:index]:
            yield path, gettext("{name} is named twice", name=name)
        elif not device and name not in (*metrics, *SIZES):
            hint = nearest(name, (*metrics, *SIZES))
            yield path, gettext("unknown objective {name!r}: {hint}, or a quantity of a device: {{latency_ms: host}}",
                                name=name, hint=hint)  # fmt: skip
        elif device and device not in profiled:
            yield path, gettext("no stage profiles {name}; add it to `devices` of a profile stage", name=device)
    yield from _check_latency(search, chain)


def _check_latency(search: SearchSettings, chain: Sequence[StageEntry]) -> Iterator[Finding]:
    """Settings of latency that have nothing to act on."""
    asked = [name for name in ("screen_after", "repeats") if getattr(search.latency, name)]
    if not asked:
        return
    path = ("search", "latency", asked[0])
    quantities = [objective_parts(objective)[0] for objective in search.objectives if objective_parts(objective)[1]]
    if quantities.count("latency_ms") != 1:
        yield path, gettext("{name} needs one objective of latency, such as {{latency_ms: host}}", name=asked[0])
    elif chain and chain[-1].name != "profile":
        yield (
            path,
            gettext("{name} needs a profile stage at the end; the last stage is {last}", name=asked[0], last=chain[-1].name),
        )
    elif search.latency.screen_after and (others := [name for name in quantities if name != "latency_ms"]):
        yield path, gettext("screen_after leaves out the profile, which measures {other}; remove one of them", other=others[0])


def check_space(tree: Tree, search: SearchSettings, faults: Callable[[Tree], list[Finding]]) -> Iterator[Finding]:
    """Parameters that the recipe does not have, and combinations that are no valid recipe.

    Each end of a range and each choice is tried alone; then all combinations of them, or a random part of a large space.

    Args:
        tree: The recipe as plain values.
        search: Its search.
        faults: Checks a recipe.
    """
    space = search.space | {key: SearchSpace(choice=values) for key, values in (search.fidelity or {}).items()}
    misplaced = [(path if path[2] in search.space else ("search", "fidelity", path[2]), why) for path, why in _misplaced(space)]
    yield from misplaced
    if misplaced:
        return
    active: set[str] = set()
    why: dict[str, str] = {}
    faulty: set[tuple[str, str]] = set()
    found = 0
    for values in _tried({key: values.ends for key, values in space.items()}):
        if any((key, repr(value)) in faulty for key, value in values.items()):
            continue
        combination = combine(tree, space, lambda key, _, __, values=values: values.get(key, AS_WRITTEN))  # type: ignore[misc]
        active |= set(combination.values)
        why |= {key: reason for key, reason in combination.inactive.items() if reason}
        for issue in faults(combination.tree)[:1] if combination.values else ():
            if len(values) == 1:
                faulty |= {(key, repr(value)) for key, value in values.items()}
            found += 1
            (*_, key), message = _finding(combination, issue)
            yield ("search", "space" if key in search.space else "fidelity", key), message
        if found >= MOST_FINDINGS:
            return
    for key in space:
        if key not in active and key in why:
            yield ("search", "space" if key in search.space else "fidelity", key), why[key]


def _misplaced(space: Mapping[str, SearchSpace]) -> Iterator[Finding]:
    """Key paths that cannot be searched."""
    for key, values in space.items():
        parts = parts_of(key)
        path = ("search", "space", key)
        if not all(parts) or parts[0] in ("search", "name", "budget", "tracking", "language", "task"):
            yield path, gettext("{key} cannot be searched; name a value of data, model, teacher or stages", key=key)
        elif values.optional and (len(parts) != 2 or parts[0] != "stages"):
            yield path, gettext("optional is for a stage, such as stages.prune; {key} is none", key=key)
        elif len(parts) == 2 and parts[0] == "stages" and values.choice is None and not values.optional:
            yield path, gettext("{key} is a whole stage; give it {{optional: true}} or a choice of stages", key=key)


def _tried(ends: Mapping[str, tuple[object, ...]]) -> Iterable[Values]:
    """Combinations that are tried: each value alone, then together."""
    yield from ({key: value} for key, values in ends.items() for value in values)
    if len(ends) == 1:
        return
    count = 1
    for values in ends.values():
        count *= len(values)
    if count <= MOST_COMBINATIONS:
        yield from (dict(zip(ends, values, strict=True)) for values in itertools.product(*ends.values()))
        return
    yield {key: values[0] for key, values in ends.items()}
    yield {key: values[-1] for key, values in ends.items()}
    draw = random.Random(0)
    yield from ({key: draw.choice(values) for key, values in ends.items()} for _ in range(MOST_COMBINATIONS))


def _finding(combination: Combination, issue: Finding) -> Finding:
    """A fault of a combination, at the parameter whose value is at fault, or the first one."""
    path, message = issue
    at_fault = [key for key, place in combination.paths.items() if path[: len(place)] == place]
    key = (at_fault or list(combination.values))[0]
    written = ", ".join(f"{name} = {quote(value)}" for name, value in combination.values.items())
    return ("search", "space", key), gettext(
        "with {values} the recipe is not valid: {path}: {message}", values=written, path=format_path(path), message=message
    )
