"""`--set key=value`: changes of a recipe before it is checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from compress.config.key_path import KeyPath, format_path, quote, shorten
from compress.config.renamed_keys import new_name
from compress.config.yaml_lines import Document, value_of
from compress.config.yaml_nodes import UnreadableError
from compress.core.errors import ValidationIssue, nearest
from compress.core.language import gettext


def override(document: Document, changes: Iterable[str]) -> None:
    """Apply `--set` changes in place: `data.image_size=32`, `stages.prune.target.macs=0.3`, `stages.1.epochs=2`.

    A list entry is named by its index, or by the name of its method. The value is YAML. A missing key is
    added, and validated with the whole recipe. Changes that cannot be applied are reported in `document.issues`.
    """
    for change in changes:
        key, equals, text = change.partition("=")
        parts = [part.strip() for part in key.split(".")]
        try:
            if not equals or not all(parts):
                raise UnreadableError(ValidationIssue(gettext("write a change as key=value, such as data.image_size=32")))
            path = put(document.tree, parts, value_of(text))
        except UnreadableError as error:
            document.issues.append(
                ValidationIssue(gettext("--set {shorten}: {message}", shorten=shorten(change), message=error.issue.message))
            )
            continue
        for known in [known for known in document.lines if known[: len(path)] == path]:
            del document.lines[known]
        document.lines[path] = None


def put(tree: dict[str, object], parts: Sequence[str], value: object) -> KeyPath:
    """Set a value in the tree; returns its key path.

    Raises:
        UnreadableError: The path leads nowhere.
    """
    path: KeyPath = ()
    node: Any = tree
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        keys: list[str | int] = [part] if isinstance(node, dict) else _entry_keys(node, part, parts[position + 1 :], path)
        for depth, key in enumerate(keys):
            path = (*path, key)
            if last and depth == len(keys) - 1:
                node[key] = value
            else:
                child = node.get(key) if isinstance(node, dict) else node[key]
                if child is None:
                    child = {}
                elif isinstance(child, str) and (isinstance(key, int) or child == parts[position + 1]):
                    child = {child: {}}  # `- NAME` and `task: NAME` in their long form
                node[key] = child
                if not isinstance(child, dict | list):
                    message = gettext("{path} is {child}, which has no keys to set", path=format_path(path), child=quote(child))
                    raise UnreadableError(ValidationIssue(message))
                node = child
    return path


def _entry_keys(node: list[object], part: str, rest: Sequence[str], path: KeyPath) -> list[str | int]:
    """Keys from a list to the entry that `part` names: an index, and the only key of the entry if it has one."""
    names = [_entry_name(entry) for entry in node]
    if re.fullmatch("-?[0-9]{1,9}", part):
        index = int(part)
        if not 0 <= index < len(node):
            raise UnreadableError(
                ValidationIssue(gettext("{path} has {count} entries, numbered from 0", path=format_path(path), count=len(node)))
            )
        name = names[index]
        return [index] if not rest or name is None or rest[0] == name else [index, name]
    indices = [index for index, name in enumerate(names) if name == part]
    if not indices and (new := new_name(path, part)):
        raise UnreadableError(ValidationIssue(gettext("`{part}` is now called `{new}`", part=part, new=new)))
    if not indices:
        raise UnreadableError(
            ValidationIssue(
                gettext(
                    "{path} has no entry {shorten!r}: {hint}",
                    path=format_path(path),
                    shorten=shorten(part),
                    hint=nearest(part, {name for name in names if name}),
                )
            )
        )
    if len(indices) > 1:
        listed = " and ".join(f"{format_path(path)}[{index}]" for index in indices)
        raise UnreadableError(
            ValidationIssue(
                gettext(
                    "{listed} are both called {part!r}; use an index, as in {path}.{indices}",
                    listed=listed,
                    part=part,
                    path=path[-1],
                    indices=indices[0],
                )
            )
        )
    return [indices[0], part]


def _entry_name(entry: object) -> str | None:
    """Name of an entry written `- name` or `- name: {…}`."""
    if isinstance(entry, str):
        return entry
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, inside),) = entry.items()
        return name if inside is None or isinstance(inside, dict) else None
    return None
