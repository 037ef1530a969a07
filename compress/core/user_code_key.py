"""The user's code in a stage, as part of the key of the stage, since its result depends on this code.

There are two kinds: code that parameters name as `python:FILE.py:NAME`, and classes of objects created in Python, such as a
loss of the user. Both are covered by `fingerprint_object`, which follows methods, globals and values read at import; files also
by `code_hash`, which follows the files and packages that they import.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from compress.core.environment import run_token
from compress.core.fact import Fact
from compress.core.registry_entry import USER_CODE
from compress.core.trusted_code import code_hash, load_function

_REFERENCE = re.compile(rf"{USER_CODE}.+\.py:[A-Za-z_]\w*")


@dataclass(frozen=True)
class UserCodeKey:
    """The user's code in one stage.

    Attributes:
        hashes: Hashes by reference or class name; a random hash for code that cannot be read in full.
        notes: Facts about code that cannot be read in full.
    """

    hashes: dict[str, str]
    notes: tuple[Fact, ...] = ()


def user_code_key(stage: BaseModel, base: Path, *, trust_code: bool) -> UserCodeKey:
    """Identify the user's code that a stage runs.

    Args:
        stage: The stage; its parameters may contain further models.
        base: Folder for relative files.
        trust_code: Whether the user's code may run.

    Raises:
        TrustError: A parameter names code that may not run.
        CompressError: A file or function is missing, or the import of the file fails.
    """
    hashes: dict[str, str] = {}
    parts: list[tuple[str, object]] = []
    for name in sorted(set(_references(stage.model_dump(mode="json")))):
        reference = name.removeprefix(USER_CODE)
        hashes[name] = code_hash(reference, base)
        parts.append((name, load_function(reference, base, trust_code)))
    parts += [(type(model).__qualname__, model) for model in _models(stage) if _is_users(type(model))]
    return _fingerprints(parts, hashes) if parts else UserCodeKey({})


def _fingerprints(parts: list[tuple[str, object]], hashes: dict[str, str]) -> UserCodeKey:
    from compress.core.object_fingerprint import fingerprint_object

    notes: list[Fact] = []
    for name, part in parts:
        # fields of a model are already part of the parameters of the stage
        value = (type(part), part.__pydantic_private__) if isinstance(part, BaseModel) else part
        fingerprint = fingerprint_object(value)
        hashes[name] = f"{hashes.get(name, '')} {fingerprint.sha256}".strip()
        if fingerprint.unread:
            hashes["unread"] = run_token()
            notes.append(Fact.of("pipeline.method_not_readable", name, attributes=", ".join(fingerprint.unread)))
    return UserCodeKey(hashes, tuple(notes))


def _is_users(kind: type) -> bool:
    from compress.core.object_fingerprint import is_library

    return not is_library(kind.__module__)


def _references(value: object) -> Iterator[str]:
    """Every `python:FILE.py:NAME` in plain values."""
    if isinstance(value, str):
        if _REFERENCE.fullmatch(value):
            yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _references(key)
            yield from _references(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _references(part)


def _models(value: object) -> Iterator[BaseModel]:
    """A model and every model in its fields."""
    if isinstance(value, BaseModel):
        yield value
        parts = [part for _, part in value]
    elif isinstance(value, Mapping):
        parts = [*value.values()]
    else:
        parts = list(value) if isinstance(value, list | tuple) else []
    for part in parts:
        yield from _models(part)
