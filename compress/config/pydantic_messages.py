"""Messages from pydantic errors: key path, value, allowed values, nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from compress.config.key_path import KeyPath, child, has_key, quote
from compress.core.errors import nearest
from compress.core.language import gettext, ngettext
from compress.core.metric_limits import MetricLimits
from compress.core.registry import lookup, names
from compress.core.registry_field import RegistryField

Finding = tuple[KeyPath, str]
Located = tuple[KeyPath, ErrorDetails]

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a block of keys",
    "mapping": "a block of keys",
    "model": "a block of keys",
    "model_attributes": "a block of keys",
    "none": "nothing",
}
_BOUNDS = {
    "greater_than": "above",
    "greater_than_equal": "at least",
    "less_than": "below",
    "less_than_equal": "at most",
}
_BOUND_KEYS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
"""Kind of error → key of the bound in pydantic's context."""


class _Type(NamedTuple):
    """An alternative of an annotation, and the metadata of its `Annotated`."""

    annotation: object
    extra: tuple[object, ...] = ()


def findings(error: ValidationError, model: type[BaseModel], tree: object) -> list[Finding]:
    """Messages of pydantic errors.

    Args:
        error: Error of `model.model_validate(tree)`.
        model: The model.
        tree: The validated values.

    Returns:
        (key path, message) of each error, without errors that follow from another one.
    """
    located = [(*_locate(details["loc"], tree, details["type"]), details) for details in error.errors(include_url=False)]
    remaining = list(_one_alternative(located))
    paths = {path for path, _ in remaining}
    return [
        (path, _describe(path, details, model))
        for path, details in remaining
        if details["type"] != "too_short" or not any(_inside(other, path) for other in paths)
    ]


def loose_numbers(tree: object, model: type[BaseModel]) -> list[Finding]:
    """`true` and `false` in place of a number, which pydantic would accept as 1 and 0."""
    return [
        (path, gettext("expected a number, got {value}", value=quote(value)))
        for path, value in _leaves(tree, ())
        if isinstance(value, bool) and _numeric_only(list(types_at(model, path)))
    ]


def types_at(model: type[BaseModel], path: KeyPath) -> Iterator[_Type]:
    """All types that a model allows at a key path."""
    types = [_Type(model)]
    for part in path:
        types = [inner for outer in types for inner in _step(outer, part)]
    yield from types


def _inside(path: KeyPath, outer: KeyPath) -> bool:
    return len(path) > len(outer) and path[: len(outer)] == outer


def _leaves(tree: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _leaves(value, (*path, key))
    else:
        yield path, tree


def _numeric_only(types: list[_Type]) -> bool:
    kinds = {
        kind
        for alternative in types
        for kind in (
            [type(value) for value in get_args(alternative.annotation)]
            if get_origin(alternative.annotation) is Literal
            else [alternative.annotation]
        )
    }
    return bool(kinds & {int, float}) and bool not in kinds and Any not in kinds


def _branches(annotation: object, extra: tuple[object, ...] = ()) -> Iterator[_Type]:
    """Alternatives of an annotation, with unions expanded."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from _branches(inner, (*extra, *more))
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _branches(member, extra)
    else:
        yield _Type(annotation, extra)


def _step(outer: _Type, part: str | int) -> Iterator[_Type]:
    """Types of the key or index `part` inside `outer`."""
    annotation = outer.annotation
    entry = next((metadata for metadata in outer.extra if isinstance(metadata, RegistryField)), None)
    if entry is not None:
        if part in names(entry.family):
            yield _Type(entry.settings(lookup(entry.family, str(part))))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        if field is not None:
            yield from _branches(field.annotation, tuple(field.metadata))
        elif issubclass(annotation, MetricLimits):
            yield _Type(float)
    elif get_origin(annotation) in (tuple, list) and isinstance(part, int):
        yield from _branches(get_args(annotation)[0])
    elif get_origin(annotation) is dict:
        yield from _branches(get_args(annotation)[1])


def _locate(loc: Iterable[str | int], tree: object, kind: str) -> tuple[KeyPath, tuple[KeyPath, str] | None]:
    """Key path in the tree without pydantic's names of union members; and the first of these names."""
    parts = list(loc)
    path: KeyPath = ()
    member: tuple[KeyPath, str] | None = None
    node = tree
    for position, part in enumerate(parts):
        missing = kind == "missing" and position == len(parts) - 1
        if has_key(node, part):
            node = child(node, part)
        elif part == node or (missing and (node is None or isinstance(node, dict))):
            node = None
        else:
            member = member or (path, str(part))
            continue
        path = (*path, part)
    return path, member


def _one_alternative(
    located: list[tuple[KeyPath, tuple[KeyPath, str] | None, ErrorDetails]],
) -> Iterator[tuple[KeyPath, ErrorDetails]]:
    """For a union, only the errors of the member whose shape fits the value."""
    unions: dict[KeyPath, dict[str, list[Located]]] = {}
    for path, member, details in located:
        if member is not None:
            unions.setdefault(member[0], {}).setdefault(member[1], []).append((path, details))
    for path, member, details in located:
        if member is None:
            yield path, details
        elif member[0] in unions:
            members = unions.pop(member[0])
            fitting = [
                errors
                for errors in members.values()
                if not any(location == member[0] and _mismatch(details) for location, details in errors)
            ]
            if fitting:
                yield from min(fitting, key=len)
            else:
                expected = gettext(" or ").join(
                    dict.fromkeys(_expected_kind(details) for errors in members.values() for _, details in errors)
                )
                yield member[0], {**details, "type": "alternatives", "ctx": {"expected": expected}}


def _mismatch(details: ErrorDetails) -> bool:
    return str(details["type"]).endswith(("_type", "_parsing", "literal_error"))


def _expected_kind(details: ErrorDetails) -> str:
    kind = str(details["type"])
    if kind == "literal_error":
        return str(details["ctx"]["expected"])
    return gettext(_EXPECTED.get(re.sub("_(type|parsing|from_float|parsing_size)$", "", kind), kind))


def _describe(path: KeyPath, details: ErrorDetails, model: type[BaseModel]) -> str:
    """Message of an error."""
    kind, context, value = details["type"], details.get("ctx", {}), quote(details["input"])
    if kind == "extra_forbidden":
        outer = types_at(model, path[:-1])
        allowed = {name for alternative in outer for name in getattr(alternative.annotation, "model_fields", ())}
        return gettext("unknown key: {hint}", hint=nearest(str(path[-1]), allowed))
    if kind == "missing":
        in_list = isinstance(details["input"], list)
        return gettext("has too few entries, got {value}", value=value) if in_list else gettext("this required key is missing")
    if kind in _BOUNDS:
        bound = context[_BOUND_KEYS[kind]]
        return gettext("must be {word} {bound:g}, got {value}", word=gettext(_BOUNDS[kind]), bound=bound, value=value)
    if kind == "literal_error":
        return _choice(str(context["expected"]), details["input"])
    if kind == "string_pattern_mismatch":
        return gettext("must match {pattern}, got {value}", pattern=context["pattern"], value=value)
    if kind in ("too_short", "too_long"):
        return _describe_length(kind, context)
    if kind == "alternatives":
        return gettext("expected {expected}, got {value}", expected=context["expected"], value=value)
    if kind == "string_type" and isinstance(details["input"], int | float):
        return gettext("expected text, got {value}; put it in quotes", value=value)
    if (expected := _expected_kind(details)) != kind:
        return gettext("expected {expected}, got {value}", expected=expected, value=value)
    return _plain(details)


def _describe_length(kind: str, context: dict[str, Any]) -> str:
    length = context["actual_length"]
    if kind == "too_short":
        return ngettext(
            "needs at least {number} entry, got {length}",
            "needs at least {number} entries, got {length}",
            context["min_length"],
            length=length,
        )
    return ngettext(
        "needs at most {number} entry, got {length}",
        "needs at most {number} entries, got {length}",
        context["max_length"],
        length=length,
    )


def _choice(expected: str, value: object) -> str:
    allowed = re.findall(r"'([^']*)'", expected)
    if isinstance(value, str) and allowed:
        return gettext("unknown value {value!r}: {hint}", value=value, hint=nearest(value, allowed))
    return gettext("expected {expected}, got {value}", expected=expected, value=quote(value))


def _plain(details: ErrorDetails) -> str:
    """The message of a validator."""
    message = str(details["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    own = details["type"] in ("value_error", "assertion_error", "entry", "unknown_method")
    return message if own else f"{message[:1].lower()}{message[1:]}, got {quote(details['input'])}"
