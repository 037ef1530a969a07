"""`- name: {parameters}` in a list, for stages and losses: one key that names a row of the method table.

    stages:
      - prune: {granularity: channel}     →   Prune(granularity="channel")
      - export                            →   Export()

`Annotated[Stage, RegistryField("stage")]` accepts that form or a ready object, and writes the same form back.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, create_model
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from compress.core.errors import nearest
from compress.core.registry import ENTRIES, names


@cache
def _table(family: str) -> type[BaseModel]:
    """A model with one optional field for each name of the family."""
    fields: dict[str, Any] = {row.name: (row.load() | None, None) for row in ENTRIES if row.family == family}
    return create_model(f"Any{family.capitalize()}", __config__=ConfigDict(extra="forbid", frozen=True), **fields)


def name_of(family: str, thing: BaseModel) -> str:
    """The name under which an object's class stands in the table; its class name in lower case if it does not."""
    where = f"{type(thing).__module__}:{type(thing).__name__}"
    return next((row.name for row in ENTRIES if row.family == family and row.where == where), type(thing).__name__.lower())


class RegistryField:
    """Annotation of a field that holds one object of a family.

    Args:
        family: A family of the method table whose rows point at pydantic models.
        base: Class that ready objects must be instances of.
    """

    def __init__(self, family: str, base: type[BaseModel]) -> None:
        self.family = family
        self.base = base

    def _parse(self, value: Any) -> Any:
        if isinstance(value, self.base):
            return value
        entry = {value: {}} if isinstance(value, str) else value
        if not isinstance(entry, dict) or len(entry) != 1:
            raise PydanticCustomError("entry", "{message}", {"message": self._shape(value)})
        ((name, parameters),) = entry.items()
        if name not in names(self.family):
            raise PydanticCustomError(
                "unknown_method",
                "{message}",
                {"message": f"unknown {self.family} {name!r}: {nearest(str(name), names(self.family))}", "key": str(name)},
            )
        table = _table(self.family).model_validate({name: {} if parameters is None else parameters})
        return getattr(table, name)

    def _shape(self, value: Any) -> str:
        return f"a {self.family} is written `name: {{parameters}}` with one name, got {value!r}"

    def _write(self, value: BaseModel) -> dict[str, Any]:
        return {name_of(self.family, value): value.model_dump(mode="json")}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._parse, serialization=core_schema.plain_serializer_function_ser_schema(self._write)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        listed = list(names(self.family))
        table = handler(_table(self.family).__pydantic_core_schema__)
        return {"anyOf": [{"type": "string", "enum": listed}, {"allOf": [table], "minProperties": 1, "maxProperties": 1}]}
