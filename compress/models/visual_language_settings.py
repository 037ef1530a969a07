"""Parts of `visual_language:small`, and its arguments in a recipe. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.models.read_args import read_args

NAME, DECODER = "small", "decoder"
DECODER_SOURCES = ("decoder", "hf")
"""Sources of networks that write texts, and take vectors in place of tokens."""


class VisionSettings(FrozenModel):
    """A convolutional vision encoder.

    Attributes:
        width: Channels at half of the resolution; they double with each further step.
        steps: S, how often the resolution is halved: an image of H × W pixels gives ⌈H/2^S⌉ · ⌈W/2^S⌉ visual tokens.
        repeats: Convolutions at each resolution.
        weights: `teacher` starts from the encoder of the recipe's trained teacher, which has the same sizes; None from new
            weights.
    """

    width: int = Field(default=32, ge=1)
    steps: int = Field(default=3, ge=1, le=6)
    repeats: int = Field(default=1, ge=1, le=4)
    weights: Literal["teacher"] | None = None


class VisualLanguageSettings(FrozenModel):
    """The `args` of `visual_language:small`.

    Attributes:
        vision: Sizes of the vision encoder.
        projector: From features of the vision encoder to the vectors of the decoder: `linear`, one layer, as in LLaVA; `mlp`,
            two layers with GELU between, as in LLaVA-1.5.
        decoder: A block of a network that writes texts, such as `{source: "decoder:tiny"}` or `{source: "hf:my_decoder"}`.
    """

    vision: VisionSettings = VisionSettings()
    projector: Literal["linear", "mlp"] = "mlp"
    decoder: dict[str, object] = Field(default={"source": "decoder:tiny"})


def read_visual_language(name: str, args: Mapping[str, object]) -> VisualLanguageSettings:
    """Check the name and read the parts of a `visual_language:` network.

    Raises:
        ValueError: There is no such network, or an argument cannot be.
    """
    if name != NAME:
        msg = gettext("there is no network visual_language:{name}; write visual_language:{known}", name=name, known=NAME)
        raise ValueError(msg)
    settings = read_args(f"visual_language:{name}", VisualLanguageSettings, args)
    source = settings.decoder.get("source")
    if not isinstance(source, str) or source.partition(":")[0] not in DECODER_SOURCES:
        msg = gettext(
            "visual_language:{name}: args.decoder is {block!r}; give a block of a network that writes texts, of the sources "
            "{sources}, such as {example}",
            name=name,
            block=settings.decoder,
            sources=", ".join(f"{each}:" for each in DECODER_SOURCES),
            example={"source": "decoder:tiny"},
        )
        raise ValueError(msg)
    return settings
