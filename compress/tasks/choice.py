"""The recipe's `task:`: the name of a task, or its name with options. Light.

task: regression                       →   Regression()
task: {regression: {period: 360}}      →   Regression(period=360)
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, SerializeAsAny, TypeAdapter, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from compress.core.errors import CompressError, message_line
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.registry import Entry, lookup
from compress.core.registry_field import RegistryField
from compress.tasks.base import NoOptions, Task


class TaskChoice(FrozenModel):
    """A task by its name in the registry, with its options.

    Attributes:
        name: In the registry; `python:FILE.py:NAME` for the user's own.
        options: Of the model that the task's class names as its `settings`.
    """

    name: str
    options: SerializeAsAny[BaseModel] = NoOptions()

    def make(self) -> Task:
        """The task.

        Raises:
            CompressError: Its class does not take these options.
        """
        kind: type[Task] = lookup("task", self.name).load()
        try:
            task = kind(**dict(self.options))
        except TypeError as error:
            msg = gettext(
                "task {name}: {kind_name} does not take its own settings {options}: {error}",
                name=self.name,
                kind_name=kind.__name__,
                options=", ".join(dict(self.options)),
                error=error,
            )
            raise CompressError(msg) from error
        if absent := [name for name in kind.settings.model_fields if not hasattr(task, name)]:
            msg = gettext(
                "task {name}: {kind_name} keeps no attribute {absent}, as it must for each of its settings",
                name=self.name,
                kind_name=kind.__name__,
                absent=", ".join(absent),
            )
            raise CompressError(msg)
        return task

    @property
    def source(self) -> str | dict[str, object]:
        """As a recipe writes it: the name where all options are the defaults."""
        chosen = self.options.model_dump(mode="json", exclude_defaults=True)
        return {self.name: self.options.model_dump(mode="json")} if chosen else self.name

    @staticmethod
    def read(source: str | dict[str, object], base: Path = Path(), *, trust_code: bool = False) -> TaskChoice:
        """The choice that a recipe writes so.

        Args:
            source: A name, or a name with options.
            base: Folder that a relative `python:FILE.py:NAME` starts from.
            trust_code: Whether that code may run.

        Raises:
            CompressError: No such task, or other options.
        """
        adapter: TypeAdapter[TaskChoice] = TypeAdapter(Annotated[TaskChoice, TaskField()])
        try:
            return adapter.validate_python(source, context={"base": base, "trust_code": trust_code})
        except ValidationError as error:
            msg = gettext("task {source!r} cannot be used: {msg}", source=source, msg=error.errors()[0]["msg"])
            raise CompressError(msg) from error


class TaskField(RegistryField):
    """Annotation of a field that holds a `TaskChoice`."""

    def __init__(self) -> None:
        super().__init__("task", Task)

    def settings(self, row: Entry) -> type[BaseModel]:
        """Model of the options of a task; errors as of the base class."""
        kind: type[Task] = row.load()
        return kind.settings

    def _parse(self, value: object, info: ValidationInfo) -> TaskChoice:
        if isinstance(value, TaskChoice):
            return value
        row, options = self._read(value, info)
        choice = TaskChoice(name=row.name, options=options)
        try:
            choice.make()
        except CompressError as error:
            raise PydanticCustomError("entry", "{message}", {"message": message_line(error)}) from error
        return choice

    def _shape(self, value: object) -> str:
        return gettext("a task is written `name` or `name: {{options}}` with one name, got {value!r}", value=value)

    def _write(self, value: BaseModel) -> object:
        return value.source if isinstance(value, TaskChoice) else super()._write(value)


def option_names(row: Entry) -> tuple[str, ...]:
    """Names of the options of a task; none for rows of other families and of broken packages."""
    try:
        return tuple(TaskField().settings(row).model_fields) if row.family == "task" else ()
    except CompressError:
        return ()
