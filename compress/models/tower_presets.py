"""Towers of `dual_encoder:NAME`, and their arguments in a recipe. Imports no torch.

name     image tower                                     text tower
tiny     MobileNetV2 of a quarter of its width           convolutions over tokens, 64 wide
small    MobileNetV2                                     encoder of 2 layers × 128
base     ResNet-18                                       encoder of 4 layers × 256
"""

from __future__ import annotations

from collections.abc import Mapping

from compress.core.errors import nearest
from compress.core.language import gettext

IMAGE, TEXT, DIMENSIONS = "image", "text", "dimensions"
DEFAULT_DIMENSIONS = 128
Block = Mapping[str, object]
TOWERS: Mapping[str, Mapping[str, Block]] = {
    "tiny": {
        IMAGE: {"source": "torchvision:mobilenet_v2", "args": {"width_mult": 0.25}},
        TEXT: {"source": "text_student:cnn", "args": {"embedding": 64, "width": 64}},
    },
    "small": {IMAGE: {"source": "torchvision:mobilenet_v2"}, TEXT: {"source": "encoder:tiny"}},
    "base": {IMAGE: {"source": "torchvision:resnet18"}, TEXT: {"source": "encoder:mini"}},
}
TEXT_SOURCES = ("encoder", "hf", "text_student", "python")
"""Sources of networks that give a vector for a text."""


def read_towers(name: str, args: Mapping[str, object]) -> tuple[dict[str, Block], int]:
    """The `model:` block of each tower, and the dimensions of the vectors.

    Args:
        name: A preset.
        args: `image` and `text` in place of those of the preset, and `dimensions`.

    Raises:
        ValueError: There is no such preset, or an argument cannot be.
    """
    if name not in TOWERS:
        raise ValueError(gettext("there is no dual encoder {name!r}: {hint}", name=name, hint=nearest(name, TOWERS)))
    known = (IMAGE, TEXT, DIMENSIONS)
    if unknown := [key for key in args if key not in known]:
        msg = gettext(
            "dual_encoder:{name} has no argument {unknown!r}: {hint}",
            name=name,
            unknown=unknown[0],
            hint=nearest(unknown[0], known),
        )
        raise ValueError(msg)
    dimensions = args.get(DIMENSIONS, DEFAULT_DIMENSIONS)
    if isinstance(dimensions, bool) or not isinstance(dimensions, int) or dimensions < 1:
        msg = gettext(
            "args.dimensions of dual_encoder:{name} is {dimensions!r}; give a whole number above 0",
            name=name,
            dimensions=dimensions,
        )
        raise ValueError(msg)
    blocks: dict[str, Block] = {}
    for tower, preset in TOWERS[name].items():
        block = args.get(tower, preset)
        if not isinstance(block, Mapping) or "source" not in block:
            msg = gettext(
                "args.{tower} of dual_encoder:{name} is {block!r}; give a block of a network, such as {preset}",
                tower=tower,
                name=name,
                block=block,
                preset=dict(preset),
            )
            raise ValueError(msg)
        blocks[tower] = block
    kind = str(blocks[TEXT]["source"]).partition(":")[0]
    if kind not in TEXT_SOURCES:
        msg = gettext(
            "args.text of dual_encoder:{name} is a network of {kind}:, and the text tower gives one vector for a text; use "
            "{sources}",
            name=name,
            kind=kind,
            sources=", ".join(f"{source}:" for source in TEXT_SOURCES),
        )
        raise ValueError(msg)
    return blocks, dimensions
