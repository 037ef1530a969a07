"""Pydantic's findings → sentences: where, what was given, what is allowed, the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from compress.config.yaml_lines import KeyPath, has_key, quote
from compress.core.errors import nearest
from compress.core.registry import lookup, names
from compress.core.registry_field import RegistryField

Finding = tuple[KeyPath, str]

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
    "greater_than": ("over", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("under", "lt"),
    "less_than_equal": ("at most", "le"),
}


class _Type(NamedTuple):
    """One alternative of an annotation, and what `Annotated` says beside it."""

    annotation: Any
    extra: tuple[Any, ...] = ()


def findings(error: ValidationError, model: type[BaseModel], tree: Any) -> list[Finding]:
    """Put pydantic's errors into words.

    Args:
        error: As raised by `model.model_validate(tree)`.
        model: The model.
        tree: What was given.

    Returns:
        Place and sentence of each, without those that only follow from another.
    """
    located = [(*_locate(each["loc"], tree, each["type"]), each) for each in error.errors(include_url=False)]
    kept = list(_one_alternative(located))
    places = {place for place, _ in kept}
    return [
        (place, _say(place, each, model))
        for place, each in kept
        if each["type"] != "too_short" or not any(_inside(other, place) for other in places)
    ]


def loose_numbers(tree: Any, model: type[BaseModel]) -> list[Finding]:
    """`true` and `false` where a number belongs, which pydantic would take for 1 and 0."""
    return [
        (place, f"expected a number, got {quote(value)}")
        for place, value in _leaves(tree, ())
        if isinstance(value, bool) and _numeric_only(list(types_at(model, place)))
    ]


def types_at(model: type[BaseModel], place: KeyPath) -> Iterator[_Type]:
    """All types that may stand at a place of a model."""
    found = [_Type(model)]
    for part in place:
        found = [inner for outer in found for inner in _step(outer, part)]
    yield from found


def _inside(place: KeyPath, outer: KeyPath) -> bool:
    return len(place) > len(outer) and place[: len(outer)] == outer


def _leaves(tree: Any, place: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _leaves(value, (*place, key))
    else:
        yield place, tree


def _numeric_only(types: list[_Type]) -> bool:
    kinds = {
        kind
        for each in types
        for kind in (
            [type(value) for value in get_args(each.annotation)]
            if get_origin(each.annotation) is Literal
            else [each.annotation]
        )
    }
    return bool(kinds & {int, float}) and bool not in kinds and Any not in kinds


def _branches(annotation: Any, extra: tuple[Any, ...] = ()) -> Iterator[_Type]:
    """Alternatives of an annotation, unions taken apart."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from _branches(inner, (*extra, *more))
    elif get_origin(annotation) in (Union, UnionType):
        for each in get_args(annotation):
            yield from _branches(each, extra)
    else:
        yield _Type(annotation, extra)


def _step(outer: _Type, part: str | int) -> Iterator[_Type]:
    """Types of what is called `part` inside `outer`."""
    annotation = outer.annotation
    entry = next((each for each in outer.extra if isinstance(each, RegistryField)), None)
    if entry is not None:
        if part in names(entry.family):
            yield _Type(lookup(entry.family, str(part)).load())
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        if field is not None:
            yield from _branches(field.annotation, tuple(field.metadata))
    elif get_origin(annotation) in (tuple, list) and isinstance(part, int):
        yield from _branches(get_args(annotation)[0])
    elif get_origin(annotation) is dict:
        yield from _branches(get_args(annotation)[1])


def _locate(loc: Iterable[str | int], tree: Any, kind: str) -> tuple[KeyPath, tuple[KeyPath, str] | None]:
    """Place in the tree; pydantic's names of union members are taken out, and the first is given beside it."""
    parts = list(loc)
    place: KeyPath = ()
    member: tuple[KeyPath, str] | None = None
    node = tree
    for position, part in enumerate(parts):
        missing = kind == "missing" and position == len(parts) - 1
        if has_key(node, part):
            node = node[part]
        elif part == node or (missing and (node is None or isinstance(node, dict))):
            node = None
        else:
            member = member or (place, str(part))
            continue
        place = (*place, part)
    return place, member


def _one_alternative(located: list[tuple[KeyPath, tuple[KeyPath, str] | None, Any]]) -> Iterator[tuple[KeyPath, Any]]:
    """Of a union, keep the errors of the member that was meant: the one whose shape fits what was given."""
    unions: dict[KeyPath, dict[str, list[tuple[KeyPath, Any]]]] = {}
    for place, member, each in located:
        if member is not None:
            unions.setdefault(member[0], {}).setdefault(member[1], []).append((place, each))
    for place, member, each in located:
        if member is None:
            yield place, each
        elif member[0] in unions:
            members = unions.pop(member[0])
            fitting = [
                errors for errors in members.values() if not any(at == member[0] and _mismatch(one) for at, one in errors)
            ]
            if fitting:
                yield from min(fitting, key=len)
            else:
                wanted = " or ".join(dict.fromkeys(_wanted(one) for errors in members.values() for _, one in errors))
                yield member[0], {**each, "type": "alternatives", "ctx": {"expected": wanted}}


def _mismatch(each: Mapping[str, Any]) -> bool:
    return str(each["type"]).endswith(("_type", "_parsing", "literal_error"))


def _wanted(each: Mapping[str, Any]) -> str:
    kind = str(each["type"])
    if kind == "literal_error":
        return str(each["ctx"]["expected"])
    return _EXPECTED.get(re.sub("_(type|parsing|from_float|parsing_size)$", "", kind), kind)


def _say(place: KeyPath, each: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One sentence."""
    kind, context, given = each["type"], each.get("ctx", {}), quote(each["input"])
    if kind == "extra_forbidden":
        outer = types_at(model, place[:-1])
        allowed = {name for one in outer for name in getattr(one.annotation, "model_fields", ())}
        return f"unknown key: {nearest(str(place[-1]), allowed)}"
    if kind == "missing":
        return "this key is required and missing"
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"must be {word} {context[key]:g}, got {given}"
    if kind == "literal_error":
        return _choice(str(context["expected"]), each["input"])
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}, got {given}"
    if kind == "too_short":
        least = context["min_length"]
        return f"needs at least {least} {'entry' if least == 1 else 'entries'}, got {context['actual_length']}"
    if kind == "alternatives":
        return f"expected {context['expected']}, got {given}"
    if kind == "string_type" and isinstance(each["input"], int | float):
        return f"expected text, got {given}; put it in quotes"
    if (wanted := _wanted(each)) != kind:
        return f"expected {wanted}, got {given}"
    return _plain(each)


def _choice(expected: str, given: Any) -> str:
    allowed = re.findall(r"'([^']*)'", expected)
    if isinstance(given, str) and allowed:
        return f"unknown value {given!r}: {nearest(given, allowed)}"
    return f"expected {expected}, got {quote(given)}"


def _plain(each: Mapping[str, Any]) -> str:
    """The message as the validator gave it."""
    message = str(each["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    own = each["type"] in ("value_error", "assertion_error", "entry", "unknown_method")
    return message if own else f"{message[:1].lower()}{message[1:]}, got {quote(each['input'])}"
