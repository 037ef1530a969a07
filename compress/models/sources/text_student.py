"""`text_student:KIND`: small text networks with new weights, as students of an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH
from compress.models.factory import UnfittedModel
from compress.models.settings import ModelSettings
from compress.models.text.fit_vocabulary import leave_whole_vocabulary
from compress.models.text.student_settings import read_student
from compress.models.text.students import TextStudent
from compress.models.text.token_table import start_from_teacher

if TYPE_CHECKING:
    from compress.tasks.base import Task

IDS, TYPES = "input_ids", "token_type_ids"


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:  # noqa: ARG001
    """Build a student for the vocabulary and the outputs of the data.

    Raises:
        ModelError: Unknown kind, arguments that cannot be, data that are no tokens, or a task with other outputs.
    """
    try:
        sizes = read_student(name, settings.args)
    except ValueError as error:
        raise ModelError(str(error)) from error
    inputs = {tensor.name: tensor for tensor in spec.signature.inputs}
    vocabulary = sizes.vocabulary or _largest(inputs[IDS].values if IDS in inputs else None)
    if IDS not in inputs or vocabulary is None:
        msg = gettext(
            "text_student:{name} takes tokens `input_ids` of a known vocabulary; the data give {inputs}: use a source of "
            "texts, or set args.vocabulary",
            name=name,
            inputs=", ".join(map(str, spec.signature.inputs)),
        )
        raise ModelError(msg)
    types = (_largest(inputs[TYPES].values) or 2) if TYPES in inputs else 0
    outputs, per_token = _outputs(name, spec)
    sizes = sizes.model_copy(update={"vocabulary": vocabulary})
    return UnfittedModel(TextStudent(name, sizes, outputs, types=types, per_token=per_token), 0)


def fill_from_teacher(student: nn.Module, teacher: nn.Module, name: str) -> tuple[Fact, ...]:
    """Fill the vectors of the tokens of a new student with those of its trained teacher, in place.

    Args:
        student: The network of `build`.
        teacher: The trained teacher.
        name: Source of the student.

    Returns:
        A note.

    Raises:
        ModelError: The vectors do not fit.
    """
    network = next(part for part in student.modules() if isinstance(part, TextStudent))
    kept = start_from_teacher(network.embedding, leave_whole_vocabulary(teacher, gettext("the teacher")), name)
    return (Fact.of("models.embeddings_from_teacher", name, width=network.embedding.embedding_dim, kept=kept),)


def _largest(values: tuple[int, int] | None) -> int | None:
    return None if values is None else values[1] + 1


def _outputs(name: str, spec: NetworkSpec) -> tuple[int, bool]:
    """Number of logits, and whether each token has them.

    Raises:
        ModelError: The task needs other outputs.
    """
    shapes = [output.shape for output in spec.signature.outputs]
    sizes = shapes[0] if len(shapes) == 1 else ()
    fits = len(sizes) in (2, 3) and sizes[0] == BATCH and isinstance(sizes[-1], int)
    if not fits or (len(sizes) == 3 and name == "mlp"):
        msg = gettext(
            "text_student:{name} gives logits of a text{tokens}; the task needs {outputs}: use an encoder, such "
            "as encoder:tiny",
            name=name,
            tokens="" if name == "mlp" else gettext(" or of each token"),
            outputs=", ".join(map(str, spec.signature.outputs)),
        )
        raise ModelError(msg)
    return int(sizes[-1]), len(sizes) == 3
