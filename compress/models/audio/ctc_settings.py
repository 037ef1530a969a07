"""Kinds and sizes of small networks of audio. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, ValidationError

from compress.core.errors import nearest
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext

KINDS = ("quartznet",)


class CtcSettings(FrozenModel):
    """The `args` of a `ctc:`, `audio_frames:` or `audio_classifier:` network.

    Attributes:
        width: Channels of all blocks.
        kernels: Kernel size of each block, in frames of its input; odd.
        repeats: Layers of each block.
        dropout: Probability of dropout after each layer.
        bands: Number of mel filters.
        window: Window of the spectrum, seconds.
        hop: Time between two windows, seconds.
        stride: Windows per frame of the output.
        causal: Whether a frame sees no later audio, so that the network can run in a stream, chunk by chunk.
    """

    width: int = Field(default=64, ge=1)
    kernels: tuple[Annotated[int, Field(ge=1, le=127)], ...] = Field(default=(11, 13, 15, 17), min_length=1)
    repeats: int = Field(default=1, ge=1, le=10)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    bands: int = Field(default=40, ge=8, le=256)
    window: float = Field(default=0.025, gt=0.0, le=1.0)
    hop: float = Field(default=0.01, gt=0.0, le=1.0)
    stride: int = Field(default=2, ge=1, le=8)
    causal: bool = False


def read_ctc(kind: str, args: Mapping[str, object], source: str = "ctc") -> CtcSettings:
    """Check the kind and read the sizes of a network.

    Raises:
        ValueError: There is no such kind, or an argument cannot be.
    """
    if kind not in KINDS:
        raise ValueError(gettext("there is no {source}:{kind}: {hint}", source=source, kind=kind, hint=nearest(kind, KINDS)))
    try:
        settings = CtcSettings.model_validate(dict(args))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            hint = nearest(name, CtcSettings.model_fields)
            raise ValueError(
                gettext("{source}:{kind} has no argument {name!r}: {hint}", source=source, kind=kind, name=name, hint=hint)
            ) from error
        msg = gettext(
            "args.{name} of {source}:{kind} is {value!r}: {reason}",
            source=source,
            name=name,
            kind=kind,
            value=first["input"],
            reason=first["msg"],
        )
        raise ValueError(msg) from error
    if even := [size for size in settings.kernels if size % 2 == 0]:
        msg = gettext(
            "args.kernels of {source}:{kind} has {even}; a kernel has a frame in its middle, so take odd sizes",
            source=source,
            kind=kind,
            even=even,
        )
        raise ValueError(msg)
    return settings
