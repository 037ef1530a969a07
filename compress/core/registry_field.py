"""Pydantic field types for methods of the registry: by name, or as `- name: {parameters}`.

    stages:
      - prune: {granularity: channel}     →   Prune(granularity="channel")
      - export                            →   Export()

`Annotated[Stage, RegistryField("stage", Stage)]` accepts this form or an object, and serialises to the same form.
`Annotated[str, RegistryName("importance")]` accepts any name that is in the registry when a recipe is checked
or its JSON schema is written.

JSON schemas have a pattern for the user's own methods, so that they do not depend on what a process has loaded before.

A name `python:FILE.py:NAME` is loaded if the validation context has `base` and a true `trust_code`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo, create_model
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from compress.core.errors import CompressError, nearest
from compress.core.language import gettext
from compress.core.registry import REGISTRY, Entry, entries, lookup, names
from compress.core.registry_entry import USER_CODE

USER_CODE_SCHEMA = {"type": "string", "pattern": r"^python:.+\.py:[A-Za-z_]\w*$"}


@lru_cache(maxsize=64)
def _table(family: str, rows: tuple[Entry, ...], settings: Callable[[Entry], type[BaseModel]]) -> type[BaseModel]:
    """A model with an optional field for each row, except rows that cannot be loaded."""
    fields: dict[str, Any] = {}
    for row in rows:
        with suppress(CompressError):
            fields[row.name] = (settings(row) | None, None)
    return create_model(f"Any{family.capitalize()}", __config__=ConfigDict(extra="forbid", frozen=True), **fields)


def name_of(family: str, method: BaseModel) -> str:
    """Name of the class of an object in the registry; the lower-case class name if it is not registered."""
    target = f"{type(method).__module__}:{type(method).__name__}"
    return next((row.name for row in entries(family) if row.target == target), type(method).__name__.lower())


def _load_user_code(family: str, name: str, context: Mapping[str, Any] | None) -> None:
    """Add a row for `python:FILE.py:NAME`; without a context, as in Python code, an existing row is not replaced."""
    if not name.startswith(USER_CODE) or (context is None and name in names(family)):
        return
    options = context or {}
    try:
        REGISTRY.add_user_code(family, name, options.get("base", Path()), trust_code=options.get("trust_code", False))
    except CompressError as error:
        raise PydanticCustomError("entry", "{message}", {"message": str(error)}) from error


class RegistryName:
    """Annotation of a text field with the name of a method.

    Args:
        family: A family of the registry.
        others: Further allowed names, such as `auto`.
        option: Only methods that have this option in the registry.
    """

    def __init__(self, family: str, *others: str, option: str | None = None) -> None:
        self.family = family
        self.others = others
        self.option = option

    @property
    def allowed(self) -> tuple[str, ...]:
        """All names."""
        rows = entries(self.family)
        return (*self.others, *(row.name for row in rows if self.option is None or row.options.get(self.option)))

    def _check(self, value: object, info: ValidationInfo) -> str:
        if isinstance(value, str) and value not in self.others:
            _load_user_code(self.family, value, info.context)
        if not isinstance(value, str) or value not in self.allowed:
            *first, last = map(repr, self.allowed)
            raise PydanticKnownError(
                "literal_error",
                {"expected": gettext("{first} or {last}", first=", ".join(first), last=last) if first else last},
            )
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        enum = [name for name in self.allowed if not name.startswith(USER_CODE)]
        return {"anyOf": [{"type": "string", "enum": enum}, USER_CODE_SCHEMA]}


class RegistryField:
    """Annotation of a field with an object of a family.

    Args:
        family: A family of the registry whose targets are pydantic models.
        base: Class that ready objects are instances of, and that the rows point at subclasses of.
    """

    def __init__(self, family: str, base: type) -> None:
        self.family = family
        self.base = base

    def settings(self, row: Entry) -> type[BaseModel]:
        """Model of the parameters of a row.

        Raises:
            CompressError: The row is of another package, and its target cannot be imported.
        """
        model: type[BaseModel] = row.load()
        return model

    def _parse(self, value: object, info: ValidationInfo) -> object:
        return value if isinstance(value, self.base) else self._read(value, info)[1]

    def _read(self, value: object, info: ValidationInfo) -> tuple[Entry, BaseModel]:
        """The row that a value names, and its parameters."""
        entry = {value: {}} if isinstance(value, str) else value
        if not isinstance(entry, dict) or len(entry) != 1:
            raise PydanticCustomError("entry", "{message}", {"message": self._shape(value)})
        ((name, parameters),) = entry.items()
        _load_user_code(self.family, str(name), info.context)
        if name not in names(self.family):
            raise PydanticCustomError(
                "unknown_method",
                "{message}",
                {
                    "message": gettext(
                        "unknown {family} {name!r}: {hint}",
                        family=self.family,
                        name=name,
                        hint=nearest(str(name), names(self.family)),
                    ),
                    "key": str(name),
                },
            )
        row = lookup(self.family, name)
        if not (isinstance(row.load(), type) and issubclass(row.load(), self.base)):
            message = gettext(
                "{family} {name!r}: {target} is not a subclass of {base_name}",
                family=self.family,
                name=name,
                target=row.target,
                base_name=self.base.__name__,
            )
            raise PydanticCustomError("entry", "{message}", {"message": message})
        table = _table(self.family, (row,), self.settings)
        validated = table.model_validate({name: {} if parameters is None else parameters}, context=info.context)
        return row, getattr(validated, name)

    def _shape(self, value: object) -> str:
        return gettext(
            "a {family} is written `name: {{parameters}}` with one name, got {value!r}", family=self.family, value=value
        )

    def _write(self, value: BaseModel) -> object:
        return {name_of(self.family, value): value.model_dump(mode="json")}

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self._parse, serialization=core_schema.plain_serializer_function_ser_schema(self._write)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rows = tuple(row for row in entries(self.family) if not row.name.startswith(USER_CODE))
        table = handler(_table(self.family, rows, self.settings).__pydantic_core_schema__)
        return {
            "anyOf": [
                {"type": "string", "enum": [row.name for row in rows]},
                {"allOf": [table], "minProperties": 1, "maxProperties": 1},
                USER_CODE_SCHEMA,
                {"type": "object", "patternProperties": {USER_CODE_SCHEMA["pattern"]: True}, "additionalProperties": False,
                 "minProperties": 1, "maxProperties": 1},
            ]
        }  # fmt: skip
