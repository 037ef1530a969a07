"""What a class's docstring says of its fields, and the JSON schema of recipes made from it: one text for people and editors."""

from __future__ import annotations

import inspect
import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_FIELD = re.compile(r"^    (\w+): (.*)$")


def summary(kind: type) -> str:
    """First paragraph of a class's own docstring, on one line; empty if it has none."""
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())


def attributes(kind: type) -> dict[str, str]:
    """What the `Attributes:` sections of a class and its bases say, each on one line, the class's own word first."""
    found: dict[str, str] = {}
    own = kind.__mro__[: kind.__mro__.index(BaseModel)] if BaseModel in kind.__mro__ else kind.__mro__
    for each in reversed(own):
        found |= _section(inspect.cleandoc(each.__dict__.get("__doc__") or ""))
    return found


def _section(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = None
    for line in text.partition("Attributes:\n")[2].split("\n"):
        if line and not line.startswith(" "):
            break
        if match := _FIELD.match(line):
            name = match[1]
            found[name] = match[2]
        elif name is not None and line.strip():
            found[name] += f" {line.strip()}"
    return found


class _Described(GenerateJsonSchema):
    """Takes titles and descriptions from docstrings."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """As generated, with the docstring's words."""
        found = super().model_schema(schema)
        said = attributes(schema["cls"])
        for name, inside in found.get("properties", {}).items():
            inside.pop("title", None)
            if name in said:
                inside["description"] = said[name]
        if text := summary(schema["cls"]):
            found["description"] = text
        else:
            found.pop("description", None)
        return found


def describe(model: type[BaseModel], *, title: str, examples: list[Any]) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of what a file for `model` may hold.

    Args:
        model: The model.
        title: What such a file is called.
        examples: Files that are valid, as plain values.
    """
    found = model.model_json_schema(schema_generator=_Described, mode="validation")
    return {"$schema": DIALECT, **found, "title": title, "examples": examples}
