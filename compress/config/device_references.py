"""Devices in a recipe: look-up, profile names, and checks that limited devices are profiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from compress.config.cross_checks import StageEntry
from compress.config.devices import load_device
from compress.config.key_path import KeyPath
from compress.config.pydantic_messages import Finding
from compress.core.budget import Budget
from compress.core.errors import CompressError
from compress.core.language import gettext
from compress.core.stage import Stage

Names = Mapping[str, str | CompressError]
"""Name of the profile by name, alias or path in the recipe; an error if there is no such profile."""


def devices_of(stage: Stage | None) -> tuple[str, ...]:
    """Devices in the field `devices` of a stage, if it has one."""
    return tuple(getattr(stage, "devices", None) or ())


def resolve(stages: Sequence[Stage | None], budget: Budget | None, base: Path | None) -> Names:
    """Look up every device.

    Args:
        stages: Stages of the recipe.
        budget: Budget; for a device that a stage names by file, the budget may use the name of its profile.
        base: Folder whose `devices/` is searched first; the working folder by default.
    """
    by_name = {name: _look_up(name, base) for stage in stages for name in devices_of(stage)}
    known = {name for name in by_name.values() if isinstance(name, str)}
    return by_name | {
        name: name if name in known else _look_up(name, base) for _, name in _limited(budget) if name not in by_name
    }


def check(
    chain: Sequence[StageEntry], budget: Budget | None, profile_names: Names, base: Path | None = None
) -> Iterator[Finding]:
    """Unknown devices, limits on devices that no stage profiles, and stages that do not support a device."""
    references: list[tuple[KeyPath, str]] = [
        ((*entry.path, "devices", index), name) for entry in chain for index, name in enumerate(devices_of(entry.stage))
    ]
    limited: list[tuple[KeyPath, str]] = [(("budget", limit, name), name) for limit, name in _limited(budget)]
    for path, name in [*references, *limited]:
        if isinstance(error := profile_names[name], CompressError):
            yield path, str(error)
    profiles = [entry for entry in chain if entry.name == "profile"]
    profiled = {profile_names[name] for entry in profiles for name in devices_of(entry.stage)}
    for path, name in limited:
        readable = isinstance(profile_names[name], str) and all(entry.stage is not None for entry in profiles)
        if readable and profile_names[name] not in profiled:
            yield (
                path,
                gettext(
                    "no stage profiles {name}, so this limit cannot pass; add it to `devices` of a profile stage", name=name
                ),
            )
    yield from _unmeasured_lengths(profiles, budget)
    if limited and profiles:
        later = chain[chain.index(profiles[-1]) + 1 :]
        for changing in [entry for entry in later if entry.kind.compresses or entry.kind.trains][:1]:
            yield (
                profiles[-1].path,
                gettext(
                    "{name} after it changes the network, so a limit on a device would be checked on a network that does "
                    "not ship; move profile behind {name}",
                    name=changing.name,
                ),
            )
    named = dict.fromkeys(name for _, name in references) or ("host",)
    if all(isinstance(profile_names.get(name, name), str) for name in named):
        targets = tuple(load_device(name, base) for name in named)
        for entry in chain:
            if entry.stage is not None and (reason := entry.stage.unsupported_reason(targets)):
                yield entry.path, reason


def _unmeasured_lengths(profiles: Sequence[StageEntry], budget: Budget | None) -> Iterator[Finding]:
    """Limits at sequence lengths that no profile stage measures."""
    measured = {length for entry in profiles for length in getattr(entry.stage, "lengths", ())}
    if budget is None or not all(entry.stage is not None for entry in profiles):
        return
    for device, limits in budget.latency_ms_by_length.items():
        if missing := sorted(set(limits) - measured):
            yield (
                ("budget", "latency_ms", device),
                gettext(
                    "no stage measures length {missing}, so this limit cannot pass; add it to `lengths` of a profile stage",
                    missing=", ".join(map(str, missing)),
                ),
            )


def rename(
    stages: Sequence[Stage], budget: Budget | None, profile_names: Names, folder: Path
) -> tuple[tuple[Stage, ...], Budget | None]:
    """Stages and budget with the profile name of every device, so that limits and measurements have equal names.

    The path of a device file is kept and becomes absolute, relative to `folder`.
    """
    new_names = {
        name: str(folder / name if name.endswith((".yaml", ".yml")) else profile_name)
        for name, profile_name in profile_names.items()
    }
    renamed = tuple(_naming(stage, tuple(new_names[name] for name in devices_of(stage))) for stage in stages)
    limits: dict[str, dict[str, object]] = {}
    for limit, name in _limited(budget):
        limits.setdefault(limit, {})[str(profile_names[name])] = getattr(budget, limit)[name]
    return renamed, budget and budget.model_copy(update=limits)


def _limited(budget: Budget | None) -> Iterator[tuple[str, str]]:
    """(field of the budget, device) of each limit by device."""
    for field in type(budget).model_fields if budget else ():
        value = getattr(budget, field)
        if isinstance(value, dict):
            yield from ((field, name) for name in value)


def _look_up(name: str, base: Path | None) -> str | CompressError:
    try:
        return load_device(name, base).name
    except CompressError as error:
        return error


def _naming(stage: Stage, devices: tuple[str, ...]) -> Stage:
    return stage if devices == devices_of(stage) else stage.model_copy(update={"devices": devices})
