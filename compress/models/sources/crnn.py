"""`crnn:small`: a small network that reads a line of text, see `compress.models.line_reader`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.factory import UnfittedModel
from compress.models.line_reader import LineReader
from compress.models.line_reader_settings import LineReaderSettings
from compress.models.settings import ModelSettings

if TYPE_CHECKING:
    from compress.tasks.base import Task

NAME = "small"


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:  # noqa: ARG001
    """Build a network for the characters of the data.

    Raises:
        ModelError: Unknown name or arguments, or a task without columns of characters.
    """
    if name != NAME:
        raise ModelError(gettext("there is no network crnn:{name}; write crnn:{known}", name=name, known=NAME))
    try:
        sizes = LineReaderSettings.model_validate(settings.args)
    except ValidationError as error:
        first = error.errors()[0]
        msg = gettext(
            "crnn:{name}: args.{loc}: {msg}; it takes {fields}",
            name=name,
            loc=".".join(map(str, first["loc"])),
            msg=first["msg"],
            fields=", ".join(LineReaderSettings.model_fields),
        )
        raise ModelError(msg) from error
    outputs = spec.signature.outputs
    if len(outputs) != 1 or len(outputs[0].shape) != 3:
        msg = gettext(
            "crnn:{name} gives a class of characters for each column, for the task image_to_text; the task {task} needs "
            "{outputs}",
            name=name,
            task=task.name,
            outputs=", ".join(map(str, outputs)),
        )
        raise ModelError(msg)
    return UnfittedModel(LineReader(sizes, spec.channels, len(spec.classes)), 0)
