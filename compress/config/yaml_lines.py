"""YAML text → plain values, with the line of every key.

Values are built from the nodes of ruamel.yaml, so that every fault has its line: a key that is not text or is duplicate, a tag,
a recursive alias, or too many aliases. Merge keys are ordinary keys. Reading does not run code.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from compress.config.key_path import KeyPath, format_path, quote
from compress.config.yaml_nodes import (
    KINDS,
    LIMIT_BYTES,
    LIMIT_DEPTH,
    LIMIT_VALUES,
    RECIPE,
    TAG,
    DocumentKind,
    UnreadableError,
    compose,
    too_many_values,
    yaml_reader,
)
from compress.core.errors import RecipeError, ValidationIssue
from compress.core.language import gettext

LIMIT_INTEGER = 1 << 63
NOT_TEXT = re.compile("[\x00\ud800-\udfff]")
"""NUL, which paths cannot contain, and single surrogates, which UTF-8 cannot encode."""


@dataclass
class Document:
    """A parsed text.

    Attributes:
        tree: The values.
        lines: Line of each key and list entry by its path, counted from 1; None for values of `--set`.
        issues: Faults of the text, such as a duplicate key.
    """

    tree: dict[str, object] = field(default_factory=dict)
    lines: dict[KeyPath, int | None] = field(default_factory=dict)
    issues: list[ValidationIssue] = field(default_factory=list)

    def issue(self, path: KeyPath, message: str) -> ValidationIssue:
        """An issue at the line of the deepest known part of `path`."""
        known = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.lines), None)
        if known is not None and self.lines[known] is None:
            return ValidationIssue(gettext("{message} (from --set)", message=message), format_path(path))
        return ValidationIssue(message, format_path(path), 1 if known is None else self.lines[known])


def value_of(text: str) -> object:
    """Read one value, such as that of `key=value`.

    Raises:
        UnreadableError: It is not YAML, or has a duplicate key.
    """
    scratch = Document()
    node = compose(text, RECIPE)
    value = None if node is None else _TreeBuilder(scratch, RECIPE).build(node, ())
    if scratch.issues:
        raise UnreadableError(scratch.issues[0])
    return value


def read_text(path: Path) -> str:
    """The text of a YAML file; for a file that is too large, enough text for `parse` to refuse it.

    Raises:
        OSError: It cannot be read; `FileNotFoundError` also for a pipe or a device, which may have no end.
        UnreadableError: It is not text.
    """
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, gettext("no such file, or not a regular file"))
    with path.open("rb") as file:
        content = file.read(LIMIT_BYTES + 1)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(content) > LIMIT_BYTES:
            return content.decode(errors="replace")
        byte = error.object[error.start]
        raise UnreadableError(
            ValidationIssue(gettext("not text in UTF-8: byte {start} is {byte:#04x}", start=error.start, byte=byte))
        ) from error


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
    node = compose(text, kind)
    if node is None:
        raise UnreadableError(
            ValidationIssue(
                gettext("the {noun} is empty; it needs at least {keys}", noun=gettext(kind.noun), keys=gettext(kind.keys))
            )
        )
    tree = _TreeBuilder(document, kind).build(node, ())
    if not isinstance(tree, dict):
        message = gettext(
            "a {noun} is a mapping with keys such as {keys}, got {given}",
            noun=gettext(kind.noun),
            keys=gettext(kind.keys),
            given=_describe(tree),
        )
        raise UnreadableError(ValidationIssue(message, line=node.start_mark.line + 1))
    document.tree = tree
    return document


def _describe(tree: object) -> str:
    return gettext("a list of {count}", count=len(tree)) if isinstance(tree, list) else quote(tree)


class _TreeBuilder:
    """Turns nodes into values; records lines and issues."""

    def __init__(self, document: Document, kind: DocumentKind) -> None:
        self.document = document
        self.kind = kind
        self.values = 0
        self.open: set[int] = set()
        self.constructor = yaml_reader().constructor

    def build(self, node: Node, path: KeyPath) -> object:
        """The value of one node.

        Args:
            node: The node.
            path: Its key path.
        """
        line = node.start_mark.line + 1
        self.values += 1
        if self.values > LIMIT_VALUES:
            raise UnreadableError(
                ValidationIssue(
                    gettext("not a {noun}: {too_many_values}", noun=gettext(self.kind.noun), too_many_values=too_many_values()),
                    line=line,
                )
            )
        if len(self.open) >= LIMIT_DEPTH:
            message = gettext(
                "not a {noun}: with its aliases it is nested more than {limit_depth} levels deep",
                noun=gettext(self.kind.noun),
                limit_depth=LIMIT_DEPTH,
            )
            raise UnreadableError(ValidationIssue(message, line=line))
        if id(node) in self.open:
            raise UnreadableError(
                ValidationIssue(gettext("an alias refers to a value that contains the alias"), format_path(path), line)
            )
        self.open.add(id(node))
        kind = str(node.tag).removeprefix(TAG)
        if kind not in KINDS:
            self._add_issue(
                gettext(
                    "the tag {tag} is not supported; a {noun} has only plain values", tag=node.tag, noun=gettext(self.kind.noun)
                ),
                path,
                node,
            )
        if isinstance(node, MappingNode):
            value: object = self._mapping(node, path)
        elif isinstance(node, SequenceNode):
            value = [self._entry(child, (*path, index)) for index, child in enumerate(node.value)]
        elif isinstance(node, ScalarNode):
            value = self._scalar(node, kind, path)
        self.open.discard(id(node))
        return value

    def _entry(self, node: Node, path: KeyPath) -> object:
        self.document.lines[path] = node.start_mark.line + 1
        return self.build(node, path)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self.build(key_node, path)
            key = str(key) if isinstance(key, int) and not isinstance(key, bool) else key  # a length, as in {64: 5}
            if not isinstance(key, str):
                description = gettext("a list or block") if isinstance(key, dict | list) else quote(key)
                self._add_issue(gettext("a key must be text, got {description}", description=description), path, key_node)
                continue
            key_path = (*path, key)
            if key in mapping:
                message = gettext(
                    "the key is duplicate, here and on line {lines}; keep one", lines=self.document.lines[key_path]
                )
                self._add_issue(message, key_path, key_node)
                continue
            self.document.lines[key_path] = line
            mapping[key] = self.build(value_node, key_path)
        return mapping

    def _scalar(self, node: ScalarNode, kind: str, path: KeyPath) -> object:
        if kind not in KINDS:
            return None
        try:
            value = getattr(self.constructor, f"construct_yaml_{kind}")(node)
        except (LookupError, ValueError):
            self._add_issue(gettext("cannot read {value:.40} as {kind}", value=node.value, kind=kind), path, node)
            return None
        if isinstance(value, str) and (character := NOT_TEXT.search(value)):
            self._add_issue(gettext("text cannot contain the character #x{ord:04x}", ord=ord(character[0])), path, node)
            return None
        if isinstance(value, int) and abs(value) > LIMIT_INTEGER:
            self._add_issue(
                gettext("the number {value:.20}… has more digits than any setting allows", value=node.value), path, node
            )
            return None
        return value

    def _add_issue(self, message: str, path: KeyPath, node: Node) -> None:
        self.document.issues.append(ValidationIssue(message, format_path(path), node.start_mark.line + 1))
