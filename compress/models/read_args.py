"""Arguments of built-in networks, with an error that names the fault and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from compress.core.language import gettext

Settings = TypeVar("Settings", bound=BaseModel)


def read_args(source: str, kind: type[Settings], args: Mapping[str, object], fields: str = "") -> Settings:
    """Settings of a network.

    Args:
        source: Source and name of the network, `crnn:small`.
        kind: Model of the settings.
        args: Its `args`.
        fields: What it takes, for the message; the names of all fields by default.

    Raises:
        ValueError: An argument is unknown or cannot be.
    """
    try:
        return kind.model_validate(dict(args))
    except ValidationError as error:
        first = error.errors()[0]
        msg = gettext(
            "{source}: args.{loc}: {msg}; it takes {fields}",
            source=source,
            loc=".".join(map(str, first["loc"])),
            msg=first["msg"],
            fields=fields or ", ".join(kind.model_fields),
        )
        raise ValueError(msg) from error
