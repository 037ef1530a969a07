"""Sizes of networks that read lines of text. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.models.read_args import read_args

NAME = "small"


class LineReaderSettings(FrozenModel):
    """The `args` of `crnn:small`.

    Attributes:
        width: Channels at half of the resolution; twice and four times as many follow.
        repeats: Convolutions at each resolution.
        context: Convolutions over the columns.
        recurrent: Width of each direction of an LSTM over the columns; 0 for none. Integers leave it in float.
        dropout: Probability of dropout before the last layer.
    """

    width: int = Field(default=16, ge=1)
    repeats: int = Field(default=1, ge=1, le=4)
    context: int = Field(default=2, ge=0, le=8)
    recurrent: int = Field(default=0, ge=0)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)


def read_line_reader(name: str, args: Mapping[str, object]) -> LineReaderSettings:
    """Check the name and read the sizes of a `crnn:` network.

    Raises:
        ValueError: There is no such network, or an argument cannot be.
    """
    if name != NAME:
        raise ValueError(gettext("there is no network crnn:{name}; write crnn:{known}", name=name, known=NAME))
    return read_args(f"crnn:{name}", LineReaderSettings, args)
