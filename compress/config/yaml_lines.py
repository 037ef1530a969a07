"""YAML text → plain values, with the line of every key.

Values follow YAML 1.2's core schema, not PyYAML's 1.1: `1e-3` is a number, `no` and `on` are words, `1:30` is not a number of
seconds. Anchors and aliases are read; tags and merge keys are not, a recipe being a document. Reading never runs code.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from compress.core.errors import Fault, RecipeError

KeyPath = tuple[str | int, ...]

LIMIT_BYTES = 1 << 20
LIMIT_VALUES = 20_000
"""Aliases can make a short text stand for billions of values; a recipe has hundreds."""

_NUMBERS = {
    "tag:yaml.org,2002:null": (r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    "tag:yaml.org,2002:bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    "tag:yaml.org,2002:int": (r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    "tag:yaml.org,2002:float": (
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
}

_TAGS = {*_NUMBERS, *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))}


class _Reader(yaml.SafeLoader):
    """Composes nodes; only the tags above are told from plain scalars."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


class _Writer(yaml.SafeDumper):
    """Writes what `_Reader` reads back as the same value."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Write equal values twice rather than with an anchor."""
        return True


for _tag, (_pattern, _first) in _NUMBERS.items():
    _Reader.add_implicit_resolver(_tag, re.compile(_pattern), _first)
    _Writer.add_implicit_resolver(_tag, re.compile(_pattern), _first)


@dataclass
class Document:
    """A text that was read.

    Attributes:
        tree: Its values.
        lines: Line of each key and list entry by its place, counted from 1; None where `--set` put it.
        faults: What is wrong with the text itself, such as a key given twice.
    """

    tree: Any = None
    lines: dict[KeyPath, int | None] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def fault(self, place: KeyPath, message: str) -> Fault:
        """A fault at the line of the deepest known part of `place`."""
        known = next((place[:end] for end in range(len(place), 0, -1) if place[:end] in self.lines), None)
        if known is not None and self.lines[known] is None:
            return Fault(f"{message} (from --set)", spell(place))
        return Fault(message, spell(place), 1 if known is None else self.lines[known])


def spell(place: KeyPath) -> str:
    """`("stages", 1, "prune", "target")` as `stages[1].prune.target`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def show(value: Any) -> str:
    """A value as an error quotes it: YAML's words, and not the whole of something long."""
    text = (
        {None: "nothing", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else repr(value)
    )
    return text if len(text) <= 60 else f"{text[:57]}…"


def holds(node: Any, part: str | int) -> bool:
    """Whether `node` is a block with this key, or a list with this number."""
    if isinstance(node, list | tuple):
        return isinstance(part, int) and part < len(node)
    return isinstance(node, dict) and part in node


def dump(tree: Any) -> str:
    """Values as YAML that `parse` reads back as the same values."""
    return yaml.dump(tree, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=120)


def value_of(text: str) -> Any:
    """One value, such as stands behind `key=`.

    Raises:
        UnreadableError: It is not YAML, or has a key twice.
    """
    scratch = Document()
    node = _compose(text)
    value = None if node is None else _Builder(scratch).build(node, ())
    if scratch.faults:
        raise UnreadableError(scratch.faults[0])
    return value


def parse(text: str, origin: str) -> Document:
    """Read a mapping.

    Args:
        text: YAML.
        origin: The file, for the error.

    Raises:
        RecipeError: Not YAML, empty, or not a mapping. Lesser faults are left in `Document.faults`.
    """
    document = Document()
    try:
        node = _compose(text)
        if node is None:
            raise RecipeError(origin, [Fault("the recipe is empty; it needs at least name, data, model and stages")])
        document.tree = _Builder(document).build(node, ())
    except UnreadableError as error:
        raise RecipeError(origin, [error.fault]) from error
    if not isinstance(document.tree, dict):
        message = f"a recipe is a mapping with keys such as name, data, model and stages, got {_kind(document.tree)}"
        raise RecipeError(origin, [Fault(message, line=node.start_mark.line + 1)])
    return document


class UnreadableError(Exception):
    """A text or change that stands for no value at all.

    Args:
        fault: Why.
    """

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(str(fault))


def _kind(tree: Any) -> str:
    return f"a list of {len(tree)}" if isinstance(tree, list) else show(tree)


def _compose(text: str) -> yaml.Node | None:
    if len(text.encode()) > LIMIT_BYTES:
        raise UnreadableError(Fault(f"the text has {len(text):,} characters; a recipe has at most {LIMIT_BYTES:,} bytes"))
    reader = None
    try:
        reader = _Reader(text)
        found: yaml.Node | None = reader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", column {mark.column + 1}" if mark else ""
        reason = "; ".join(part for part in (error.context, error.problem) if part)
        raise UnreadableError(Fault(f"not YAML{where}: {reason}", line=mark.line + 1 if mark else None)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UnreadableError(Fault(f"not YAML: character #x{error.character:04x} is not allowed", line=line)) from error
    except RecursionError as error:
        raise UnreadableError(Fault("not a recipe: nested hundreds of levels deep")) from error
    finally:
        if reader is not None:
            reader.dispose()
    return found


class _Builder:
    """Turns nodes into values and notes lines and faults on the way."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.values = 0
        self.open: set[int] = set()

    def build(self, node: yaml.Node, place: KeyPath) -> Any:
        """The value of one node; `place` is where it stands."""
        line = node.start_mark.line + 1
        self.values += 1
        if self.values > LIMIT_VALUES:
            raise UnreadableError(
                Fault(f"the recipe stands for over {LIMIT_VALUES:,} values; are its aliases nested?", line=line)
            )
        if id(node) in self.open:
            raise UnreadableError(Fault("an alias stands for something that holds the alias itself", spell(place), line))
        self.open.add(id(node))
        if node.tag not in _TAGS:
            self._fault(f"the tag {node.tag} is not read; a recipe holds plain values", place, node)
        if isinstance(node, yaml.MappingNode):
            value: Any = self._mapping(node, place)
        elif isinstance(node, yaml.SequenceNode):
            value = [self._entry(child, (*place, index)) for index, child in enumerate(node.value)]
        elif isinstance(node, yaml.ScalarNode):
            value = self._scalar(node, place)
        self.open.discard(id(node))
        return value

    def _entry(self, node: yaml.Node, place: KeyPath) -> Any:
        self.document.lines[place] = node.start_mark.line + 1
        return self.build(node, place)

    def _mapping(self, node: yaml.MappingNode, place: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self.build(key_node, place)
            if not isinstance(key, str):
                given = "a list or block" if isinstance(key, dict | list) else show(key)
                self._fault(f"a key must be a word, got {given}", place, key_node)
                continue
            here = (*place, key)
            if key in found:
                message = f"the key is given twice, here and on line {self.document.lines[here]}; keep one"
                self._fault(message, here, key_node)
                continue
            self.document.lines[here] = line
            found[key] = self.build(value_node, here)
        return found

    def _scalar(self, node: yaml.ScalarNode, place: KeyPath) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        text: str = node.value
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
                case "float":
                    return _number(text)
                case "str":
                    return text
        except ValueError:
            self._fault(f"cannot read {text:.40} as {kind}", place, node)
        return None

    def _fault(self, message: str, place: KeyPath, node: yaml.Node) -> None:
        self.document.faults.append(Fault(message, spell(place), node.start_mark.line + 1))


def _number(text: str) -> float:
    match text.lower().lstrip("+"):
        case ".inf":
            return math.inf
        case "-.inf":
            return -math.inf
        case ".nan":
            return math.nan
    return float(text)
