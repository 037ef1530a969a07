"""`crnn:small`: a small network that reads a line of text, see `compress.models.line_reader`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.factory import UnfittedModel
from compress.models.line_reader import LineReader
from compress.models.line_reader_settings import read_line_reader
from compress.models.settings import ModelSettings

if TYPE_CHECKING:
    from compress.tasks.base import Task


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:  # noqa: ARG001
    """Build a network for the characters of the data.

    Raises:
        ModelError: Unknown name or arguments, or a task without columns of characters.
    """
    try:
        sizes = read_line_reader(name, settings.args)
    except ValueError as error:
        raise ModelError(str(error)) from error
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
