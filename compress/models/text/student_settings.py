"""Kinds and sizes of small text students. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from compress.core.errors import nearest
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext

KINDS = ("bilstm", "cnn", "mlp")


class StudentSettings(FrozenModel):
    """The `args` of a text student.

    Attributes:
        vocabulary: V, number of tokens; None for that of the data.
        embedding: E, width of a token's vector.
        width: Hidden width: of each direction of an LSTM, of each kernel size of a CNN, of a hidden layer of an MLP.
        layers: Number of layers.
        kernels: Kernel sizes of a CNN, in tokens.
        dropout: Probability of dropout before each layer and the head.
        embeddings: `teacher` starts from the tokens' vectors of the recipe's teacher, projected on their principal components.
    """

    vocabulary: int | None = Field(default=None, ge=1)
    embedding: int = Field(default=128, ge=1)
    width: int = Field(default=128, ge=1)
    layers: int = Field(default=1, ge=1, le=8)
    kernels: tuple[Annotated[int, Field(ge=1, le=32)], ...] = Field(default=(3, 4, 5), min_length=1)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    embeddings: Literal["fresh", "teacher"] = "fresh"


def read_student(kind: str, args: Mapping[str, object]) -> StudentSettings:
    """Check the kind and read the sizes of a student.

    Raises:
        ValueError: There is no such kind, or an argument cannot be.
    """
    if kind not in KINDS:
        raise ValueError(gettext("there is no text student {kind!r}: {hint}", kind=kind, hint=nearest(kind, KINDS)))
    try:
        return StudentSettings.model_validate(dict(args))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            hint = nearest(name, StudentSettings.model_fields)
            raise ValueError(
                gettext("text_student:{kind} has no argument {name!r}: {hint}", kind=kind, name=name, hint=hint)
            ) from error
        msg = gettext(
            "args.{name} of text_student:{kind} is {value!r}: {reason}",
            name=name,
            kind=kind,
            value=first["input"],
            reason=first["msg"],
        )
        raise ValueError(msg) from error
