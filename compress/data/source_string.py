"""A source string taken apart: `imagefolder:photos` in the folder of the recipe. Light."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compress.core.errors import DataError, nearest
from compress.core.registry import lookup, names


@dataclass(frozen=True)
class DataSource:
    """Where a data set comes from.

    Attributes:
        name: A row of family `data` in the method table.
        argument: What follows the first colon.
        base: Folder that relative paths start from.
        trust_code: Whether the user's own code may run.
    """

    name: str
    argument: str
    base: Path
    trust_code: bool = False

    @property
    def path(self) -> Path:
        """The argument as a path."""
        return (self.base / Path(self.argument).expanduser()).absolute()


def parse_source(source: str, base: Path, *, trust_code: bool = False) -> DataSource:
    """Take `NAME` or `NAME:ARGUMENT` apart.

    Raises:
        DataError: Unknown name, argument missing, or argument where none belongs.
    """
    name, colon, argument = source.partition(":")
    if name not in names("data"):
        msg = f"unknown data source {name!r}: {nearest(name, names('data'))}"
        raise DataError(msg)
    wanted = lookup("data", name).options.get("argument")
    if wanted and not argument:
        msg = f"data source {source!r} lacks its argument: write {name}:{wanted}"
        raise DataError(msg)
    if colon and not wanted:
        msg = f"data source {name!r} takes no argument, got {argument!r}: write {name}"
        raise DataError(msg)
    return DataSource(name, argument, base, trust_code)
