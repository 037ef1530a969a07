"""JSON schema of recipes, with descriptions from the docstrings of the classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_FIELD = re.compile(r"^    (\w+): (.*)$")


def summary(kind: type) -> str:
    """First paragraph of the docstring of a class, on one line; empty without one."""
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())


def attributes(kind: type) -> dict[str, str]:
    """Descriptions in the `Attributes:` sections of a class and its bases, by attribute; the class overrides its bases."""
    descriptions: dict[str, str] = {}
    classes = kind.__mro__[: kind.__mro__.index(BaseModel)] if BaseModel in kind.__mro__ else kind.__mro__
    for cls in reversed(classes):
        descriptions |= _section(inspect.cleandoc(cls.__dict__.get("__doc__") or ""))
    return descriptions


def _section(text: str) -> dict[str, str]:
    descriptions: dict[str, str] = {}
    name = None
    for line in text.partition("Attributes:\n")[2].split("\n"):
        if line and not line.startswith(" "):
            break
        if match := _FIELD.match(line):
            name = match[1]
            descriptions[name] = match[2]
        elif name is not None and line.strip():
            descriptions[name] += f" {line.strip()}"
    return descriptions


class _Described(GenerateJsonSchema):
    """Schema generator with titles and descriptions from docstrings."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """The generated schema, with descriptions."""
        json_schema = super().model_schema(schema)
        descriptions = attributes(schema["cls"])
        for name, inside in json_schema.get("properties", {}).items():
            inside.pop("title", None)
            if name in descriptions:
                inside["description"] = descriptions[name]
        if text := summary(schema["cls"]):
            json_schema["description"] = text
        else:
            json_schema.pop("description", None)
        return json_schema


def describe(model: type[BaseModel], *, title: str, examples: Sequence[object]) -> dict[str, object]:
    """JSON schema (draft 2020-12) of files for `model`.

    Args:
        model: The model.
        title: Title of such a file.
        examples: Valid files, as plain values.
    """
    json_schema = model.model_json_schema(schema_generator=_Described, mode="validation")
    return {"$schema": DIALECT, **json_schema, "title": title, "examples": examples}
