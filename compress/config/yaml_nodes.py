"""YAML text → nodes of ruamel.yaml, under YAML 1.2's core schema, with limits on size, number of values and depth.

`1e-3` is a number, `no` and `on` are words, `1:30` is not a number of seconds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import Node
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.resolver import VersionedResolver

from compress.core.errors import ValidationIssue
from compress.core.language import gettext

LIMIT_BYTES = 1 << 20
LIMIT_VALUES = 20_000
"""Largest number of values: aliases can expand a short text to billions of values, and a recipe has hundreds."""
LIMIT_DEPTH = 64
"""Largest depth of nesting: a recipe has about ten levels, and the recursion limit of Python is far higher."""

TAG = "tag:yaml.org,2002:"
KINDS = ("null", "bool", "int", "float", "str", "seq", "map")


class _CoreSchema(VersionedResolver):
    """Kinds of plain scalars in YAML 1.2's core schema: without dates, binary numbers and `1_000`, which ruamel.yaml adds."""

    versioned_resolver: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = defaultdict(list)


for _name, _pattern, _first_characters in (
    ("null", r"(?:~|null|Null|NULL|)$", ("~", "n", "N", "")),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    (
        "float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+.0123456789",
    ),
):
    for _character in _first_characters:
        _CoreSchema.versioned_resolver[_character].append((TAG + _name, re.compile(_pattern)))


@dataclass(frozen=True)
class DocumentKind:
    """Kind of a YAML text, for messages.

    Attributes:
        noun: Its name.
        keys: Its most important keys.
    """

    noun: str
    keys: str


RECIPE = DocumentKind("recipe", "name, data, model and stages")
DEVICE_PROFILE = DocumentKind("device profile", "name, title, kind, runtime and precision")


class UnreadableError(Exception):
    """Text that cannot be read as a value.

    Args:
        issue: Why.
    """

    def __init__(self, issue: ValidationIssue) -> None:
        self.issue = issue
        super().__init__(str(issue))


class _LimitedComposer(Composer):
    """A composer that stops while reading at too many values or too deep nesting, so that a large text takes no seconds."""

    values = 0
    level = 0

    def compose_node(self, parent: Node | None, index: object) -> Node:
        self.values += 1
        self.level += 1
        if self.values > LIMIT_VALUES:
            raise _LimitError(too_many_values(), self.parser.peek_event().start_mark.line + 1)
        if self.level > LIMIT_DEPTH:
            raise _LimitError(
                gettext("its nesting is deeper than {limit_depth} levels", limit_depth=LIMIT_DEPTH),
                self.parser.peek_event().start_mark.line + 1,
            )
        node: Node = super().compose_node(parent, index)
        self.level -= 1
        return node


class _LimitError(Exception):
    """A text beyond a limit: the reason, and the line."""


def too_many_values() -> str:
    """The reason for refusing a text of more than `LIMIT_VALUES` values."""
    return gettext("it expands to more than {limit_values:,} values; remove nested aliases", limit_values=LIMIT_VALUES)


def yaml_reader() -> YAML:
    """A YAML reader of the core schema with these limits."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _CoreSchema
    yaml.Composer = _LimitedComposer
    return yaml


def compose(text: str, kind: DocumentKind) -> Node | None:
    """The root node of a text; None if the text is empty.

    Args:
        text: YAML.
        kind: What the text is, for messages.

    Raises:
        UnreadableError: It is not YAML, or exceeds a limit.
    """
    if len(text.encode(errors="replace")) > LIMIT_BYTES:
        message = gettext(
            "the text has {count:,} characters; a {noun} has at most {limit_bytes:,} bytes",
            count=len(text),
            noun=gettext(kind.noun),
            limit_bytes=LIMIT_BYTES,
        )
        raise UnreadableError(ValidationIssue(message))
    try:
        node: Node | None = yaml_reader().compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = gettext(", column {column}", column=mark.column + 1) if mark else ""
        reason = "; ".join(part for part in (error.context, error.problem) if part)
        raise UnreadableError(
            ValidationIssue(
                gettext("not YAML{where}: {reason}", where=where, reason=reason), line=mark.line + 1 if mark else None
            )
        ) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = gettext("not YAML: character #x{character:04x} is not allowed", character=error.character)
        raise UnreadableError(ValidationIssue(message, line=line)) from error
    except _LimitError as error:
        reason, line = error.args
        raise UnreadableError(
            ValidationIssue(gettext("not a {noun}: {reason}", noun=gettext(kind.noun), reason=reason), line=line)
        ) from error
    except (ValueError, OverflowError) as error:  # an escape such as "\U00110000", which is no character
        raise UnreadableError(ValidationIssue(gettext("not YAML: {error}", error=error))) from error
    return node
