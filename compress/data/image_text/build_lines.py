"""Images of lines and their texts → `Data`: division into splits, characters, and the specification of a network."""

from __future__ import annotations

from collections.abc import Mapping

from compress.core.fact import Fact
from compress.core.network_spec import image_spec
from compress.data.characters import character_names, character_targets, plain_transcript, unwritable
from compress.data.image_text.build import ImageReaders, divided_pairs, image_splits
from compress.data.image_text.captions import Captions
from compress.data.image_text.line_split import LineSplit
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.data.split_checks import find_copies


def build_line_data(
    splits: Mapping[str, Captions], readers: ImageReaders, settings: DataSettings, facts: tuple[Fact, ...] = ()
) -> Data:
    """Divide the lines, number the characters, and read the images.

    Args:
        splits: Pairs of `train`, `val` and `test`, or of `all`.
        readers: Of the images.
        settings: The `data:` block.
        facts: About the source.

    Raises:
        DataError: Too few lines.
    """
    pairs = divided_pairs(splits, settings)
    texts = [[plain_transcript(text, lowercase=False) for text in part.texts] for part in pairs]
    names = character_names(texts[0], None, texts[0])
    images = image_splits([readers.of(part.image) for part in pairs], readers, settings)
    made = [LineSplit(image, character_targets(part, names), part) for image, part in zip(images, texts, strict=True)]
    train, validation, test = made
    (height, width), (mean, std) = settings.size, images[0].moments
    spec = image_spec(
        channels=settings.channels,
        height=height,
        width=width,
        mean=mean,
        std=std,
        classes=names,
        resize=readers.resize,
        outputs=(),
    )
    unknown = [part[index] for part in texts[1:] for index in unwritable(part, names)]
    strange = (Fact.of("data.lines_with_new_characters", unknown[0], count=len(unknown)),) if unknown else ()
    return Data(
        spec,
        train,
        validation,
        test,
        source=settings.source,
        warnings=(*facts, *strange, *find_copies(train, validation, test)),
        groups=pairs[2].members,
    )
