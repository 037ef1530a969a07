"""Key paths inside a recipe or device profile, and quoted values in messages."""

from __future__ import annotations

KeyPath = tuple[str | int, ...]


def format_path(path: KeyPath) -> str:
    """`("stages", 1, "prune", "target")` as `stages[1].prune.target`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def quote(value: object) -> str:
    """A value as a message quotes it: as YAML, shortened if it is long."""
    text = (
        {None: "nothing", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else repr(value)
    )
    return shorten(text)


def shorten(text: str, most: int = 60) -> str:
    """At most `most` characters of a text."""
    return text if len(text) <= most else f"{text[: most - 3]}…"


def child(node: object, part: str | int) -> object:
    """What a block or a list has under a key or an index; None where it has none."""
    if isinstance(node, list | tuple):
        return node[part] if isinstance(part, int) and part < len(node) else None
    return node.get(part) if isinstance(node, dict) else None


def has_key(node: object, part: str | int) -> bool:
    """Whether `node` is a mapping with this key, or a list with this index."""
    if isinstance(node, list | tuple):
        return isinstance(part, int) and part < len(node)
    return isinstance(node, dict) and part in node
