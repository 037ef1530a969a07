"""YAML text → plain values, with the line of every key.

Values follow YAML 1.2's core schema: `1e-3` is a number, `no` and `on` are words, `1:30` is not a number of seconds.
ruamel.yaml parses; values are built from its nodes, so that every fault has its line: a key that is no word or stands twice, a
tag, an alias within itself or that multiplies. Merge keys are ordinary keys. Reading never runs code.
"""

from __future__ import annotations

import errno
import re
from collections import defaultdict
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import VersionedResolver

from compress.core.errors import RecipeError, ValidationIssue

KeyPath = tuple[str | int, ...]

LIMIT_BYTES = 1 << 20
LIMIT_VALUES = 20_000
"""Aliases can make a short text stand for billions of values; a recipe has hundreds."""
LIMIT_DEPTH = 64
"""Levels of nesting; a recipe has ten. Far below the depth at which Python's recursion ends."""
LIMIT_INTEGER = 1 << 63
NOT_TEXT = re.compile("[\x00\ud800-\udfff]")
"""NUL, which no path can hold, and halves of surrogate pairs, which UTF-8 cannot."""

_TAG = "tag:yaml.org,2002:"
_KINDS = ("null", "bool", "int", "float", "str", "seq", "map")


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
        _CoreSchema.versioned_resolver[_character].append((_TAG + _name, re.compile(_pattern)))


class _Representer(SafeRepresenter):
    """Keeps the order of keys, and writes equal values twice rather than with an anchor."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sort_base_mapping_type_on_output = False

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """No value becomes an anchor."""
        return True


@dataclass(frozen=True)
class DocumentKind:
    """What a YAML text describes, for messages.

    Attributes:
        noun: Its name.
        keys: Its most important keys.
    """

    noun: str
    keys: str


RECIPE = DocumentKind("recipe", "name, data, model and stages")
DEVICE_PROFILE = DocumentKind("device profile", "name, title, kind, runtime and precision")


@dataclass
class Document:
    """A parsed text.

    Attributes:
        tree: Its values.
        lines: Line of each key and list entry by its path, counted from 1; None where `--set` put it.
        issues: What is wrong with the text itself, such as a key given twice.
    """

    tree: Any = None
    lines: dict[KeyPath, int | None] = field(default_factory=dict)
    issues: list[ValidationIssue] = field(default_factory=list)

    def issue(self, path: KeyPath, message: str) -> ValidationIssue:
        """A fault at the line of the deepest known part of `path`."""
        known = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.lines), None)
        if known is not None and self.lines[known] is None:
            return ValidationIssue(f"{message} (from --set)", format_path(path))
        return ValidationIssue(message, format_path(path), 1 if known is None else self.lines[known])


def format_path(path: KeyPath) -> str:
    """`("stages", 1, "prune", "target")` as `stages[1].prune.target`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def quote(value: Any) -> str:
    """A value as an error quotes it: YAML's words, and not the whole of something long."""
    text = (
        {None: "nothing", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else repr(value)
    )
    return shorten(text)


def shorten(text: str) -> str:
    """At most 60 characters of a text."""
    return text if len(text) <= 60 else f"{text[:57]}…"


def has_key(node: Any, part: str | int) -> bool:
    """Whether `node` is a block with this key, or a list with this index."""
    if isinstance(node, list | tuple):
        return isinstance(part, int) and part < len(node)
    return isinstance(node, dict) and part in node


def dump(tree: Any) -> str:
    """YAML text that `parse` reads back as the same values."""
    writer = _yaml()
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.width = 120
    writer.Representer = _Representer
    text = StringIO()
    writer.dump(tree, text)
    return text.getvalue()


def value_of(text: str) -> Any:
    """Read one value, such as that of `key=value`.

    Raises:
        UnreadableError: It is not YAML, or has a key twice.
    """
    scratch = Document()
    node = _compose(text, RECIPE)
    value = None if node is None else _TreeBuilder(scratch, RECIPE).build(node, ())
    if scratch.issues:
        raise UnreadableError(scratch.issues[0])
    return value


def read_text(path: Path) -> str:
    """The text of a YAML file; of one that is too large, enough for `parse` to refuse it.

    Raises:
        OSError: It cannot be read; `FileNotFoundError` also where it is a pipe or a device, which could be read for ever.
        UnreadableError: It is not text.
    """
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file, or not a regular file")
    with path.open("rb") as file:
        content = file.read(LIMIT_BYTES + 1)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(content) > LIMIT_BYTES:
            return content.decode(errors="replace")
        byte = error.object[error.start]
        raise UnreadableError(ValidationIssue(f"not a text in UTF-8: byte {error.start} is {byte:#04x}")) from error


def parse(text: str, origin: str) -> Document:
    """Read a recipe.

    Args:
        text: YAML.
        origin: The file, for the error.

    Raises:
        RecipeError: Not YAML, empty, or not a mapping. Other issues are left in `Document.issues`.
    """
    try:
        return parse_mapping(text, RECIPE)
    except UnreadableError as error:
        raise RecipeError(origin, [error.issue]) from error


def parse_mapping(text: str, kind: DocumentKind) -> Document:
    """Read a mapping.

    Args:
        text: YAML.
        kind: What the text is, for messages.

    Raises:
        UnreadableError: Not YAML, empty, or not a mapping. Other issues are left in `Document.issues`.
    """
    document = Document()
    node = _compose(text, kind)
    if node is None:
        raise UnreadableError(ValidationIssue(f"the {kind.noun} is empty; it needs at least {kind.keys}"))
    document.tree = _TreeBuilder(document, kind).build(node, ())
    if not isinstance(document.tree, dict):
        message = f"a {kind.noun} is a mapping with keys such as {kind.keys}, got {_describe(document.tree)}"
        raise UnreadableError(ValidationIssue(message, line=node.start_mark.line + 1))
    return document


class UnreadableError(Exception):
    """Text that cannot be read as a value.

    Args:
        issue: Why.
    """

    def __init__(self, issue: ValidationIssue) -> None:
        self.issue = issue
        super().__init__(str(issue))


def _describe(tree: Any) -> str:
    return f"a list of {len(tree)}" if isinstance(tree, list) else quote(tree)


class _LimitedComposer(Composer):
    """Stops at too many values and at too deep nesting while it reads, before a large text costs seconds."""

    values = 0
    level = 0

    def compose_node(self, parent: Node | None, index: object) -> Node:
        self.values += 1
        self.level += 1
        if self.values > LIMIT_VALUES:
            raise _LimitError(_too_many_values(), self.parser.peek_event().start_mark.line + 1)
        if self.level > LIMIT_DEPTH:
            raise _LimitError(f"it is nested more than {LIMIT_DEPTH} levels deep", self.parser.peek_event().start_mark.line + 1)
        node: Node = super().compose_node(parent, index)
        self.level -= 1
        return node


class _LimitError(Exception):
    """A text beyond a limit: the reason, and the line."""


def _too_many_values() -> str:
    return f"it stands for over {LIMIT_VALUES:,} values; are its aliases nested?"


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _CoreSchema
    yaml.Composer = _LimitedComposer
    return yaml


def _compose(text: str, kind: DocumentKind) -> Node | None:
    if len(text.encode(errors="replace")) > LIMIT_BYTES:
        message = f"the text has {len(text):,} characters; a {kind.noun} has at most {LIMIT_BYTES:,} bytes"
        raise UnreadableError(ValidationIssue(message))
    try:
        node: Node | None = _yaml().compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", column {mark.column + 1}" if mark else ""
        reason = "; ".join(part for part in (error.context, error.problem) if part)
        raise UnreadableError(ValidationIssue(f"not YAML{where}: {reason}", line=mark.line + 1 if mark else None)) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"not YAML: character #x{error.character:04x} is not allowed"
        raise UnreadableError(ValidationIssue(message, line=line)) from error
    except _LimitError as error:
        reason, line = error.args
        raise UnreadableError(ValidationIssue(f"not a {kind.noun}: {reason}", line=line)) from error
    except (ValueError, OverflowError) as error:  # an escape such as "\U00110000" that is no character
        raise UnreadableError(ValidationIssue(f"not YAML: {error}")) from error
    return node


class _TreeBuilder:
    """Turns nodes into values; records lines and issues."""

    def __init__(self, document: Document, kind: DocumentKind) -> None:
        self.document = document
        self.kind = kind
        self.values = 0
        self.open: set[int] = set()
        self.constructor = _yaml().constructor

    def build(self, node: Node, path: KeyPath) -> Any:
        """The value of one node.

        Args:
            node: The node.
            path: Its key path.
        """
        line = node.start_mark.line + 1
        self.values += 1
        if self.values > LIMIT_VALUES:
            raise UnreadableError(ValidationIssue(f"not a {self.kind.noun}: {_too_many_values()}", line=line))
        if len(self.open) >= LIMIT_DEPTH:
            message = f"not a {self.kind.noun}: with its aliases it is nested more than {LIMIT_DEPTH} levels deep"
            raise UnreadableError(ValidationIssue(message, line=line))
        if id(node) in self.open:
            raise UnreadableError(
                ValidationIssue("an alias stands for something that holds the alias itself", format_path(path), line)
            )
        self.open.add(id(node))
        kind = str(node.tag).removeprefix(_TAG)
        if kind not in _KINDS:
            self._add_issue(f"the tag {node.tag} is not read; a {self.kind.noun} holds plain values", path, node)
        if isinstance(node, MappingNode):
            value: Any = self._mapping(node, path)
        elif isinstance(node, SequenceNode):
            value = [self._entry(child, (*path, index)) for index, child in enumerate(node.value)]
        elif isinstance(node, ScalarNode):
            value = self._scalar(node, kind, path)
        self.open.discard(id(node))
        return value

    def _entry(self, node: Node, path: KeyPath) -> Any:
        self.document.lines[path] = node.start_mark.line + 1
        return self.build(node, path)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self.build(key_node, path)
            if not isinstance(key, str):
                description = "a list or block" if isinstance(key, dict | list) else quote(key)
                self._add_issue(f"a key must be a word, got {description}", path, key_node)
                continue
            key_path = (*path, key)
            if key in mapping:
                message = f"the key is given twice, here and on line {self.document.lines[key_path]}; keep one"
                self._add_issue(message, key_path, key_node)
                continue
            self.document.lines[key_path] = line
            mapping[key] = self.build(value_node, key_path)
        return mapping

    def _scalar(self, node: ScalarNode, kind: str, path: KeyPath) -> Any:
        if kind not in _KINDS:
            return None
        try:
            value = getattr(self.constructor, f"construct_yaml_{kind}")(node)
        except (LookupError, ValueError):
            self._add_issue(f"cannot read {node.value:.40} as {kind}", path, node)
            return None
        if isinstance(value, str) and (character := NOT_TEXT.search(value)):
            self._add_issue(f"a text cannot hold the character #x{ord(character[0]):04x}", path, node)
            return None
        if isinstance(value, int) and abs(value) > LIMIT_INTEGER:
            self._add_issue(f"the number {node.value:.20}… has more digits than any setting takes", path, node)
            return None
        return value

    def _add_issue(self, message: str, path: KeyPath, node: Node) -> None:
        self.document.issues.append(ValidationIssue(message, format_path(path), node.start_mark.line + 1))
