"""Choice of the layers of an encoder that a smaller one keeps. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compress.core.errors import ModelError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext


class LayerChoice(FrozenModel):
    """A number of layers, and which ones.

    Attributes:
        count: M, the number of layers to keep.
        choose: Of N layers 0 … N − 1, `first` keeps 0 … M − 1, and `last` keeps N − M … N − 1. `even` keeps layers of equal
            distance, with the first and the last one: l_i = ⌈i (N − 1) / (M − 1) − 1/2⌉ for i = 0 … M − 1; l_0 = 0 if M = 1.
            It gives 0, 2, 4, 7, 9, 11 of 12, as DistilBERT (Sanh et al. 2019, arXiv:1910.01108), and 0, 31 of 32, as
            distil-whisper (Gandhi et al. 2023, arXiv:2311.00430).
    """

    count: int = Field(ge=1)
    choose: Literal["even", "first", "last"] = "even"


KeptLayers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | LayerChoice
"""Numbers of the layers to keep, the first layer is 0; or how many, and which."""


def count_kept(choice: KeptLayers) -> int:
    """Number of layers that a choice keeps."""
    return choice.count if isinstance(choice, LayerChoice) else len(choice)


def kept_layers(choice: KeptLayers, depth: int, name: str) -> tuple[int, ...]:
    """Numbers of the layers to keep, in increasing order.

    Args:
        choice: The choice.
        depth: N, the number of layers that there are.
        name: Names the network in messages.

    Raises:
        ModelError: A layer does not exist, or more layers are asked for than there are.
    """
    if not isinstance(choice, LayerChoice):
        if wrong := [index for index in choice if index >= depth]:
            msg = gettext(
                "keep_layers names layer {wrong}; {name} has {depth} layers, 0 to {last}",
                wrong=", ".join(map(str, wrong)),
                name=name,
                depth=depth,
                last=depth - 1,
            )
            raise ModelError(msg)
        return choice
    count = choice.count
    if count > depth:
        msg = gettext(
            "keep_layers asks for {count} layers; {name} has {depth}, 0 to {last}",
            count=count,
            name=name,
            depth=depth,
            last=depth - 1,
        )
        raise ModelError(msg)
    match choice.choose:
        case "first":
            return tuple(range(count))
        case "last":
            return tuple(range(depth - count, depth))
        case "even":
            steps = max(count - 1, 1)
            return tuple((2 * index * (depth - 1) + steps - 1) // (2 * steps) for index in range(count))
