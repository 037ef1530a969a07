"""Images and captions → `Data`: division into splits, tokens, and the specification of a network for both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import ImagePreprocessing, ImageTextPreprocessing, NetworkSpec, Resize
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.data.augment import AUGMENTATIONS, EvaluationTransform
from compress.data.batch import SPLITS
from compress.data.image_split import ImageSplit, ImageTransforms, Reader
from compress.data.image_text.captions import Captions, divide, limited
from compress.data.image_text.names import CLASS, CLASS_NUMBER, IMAGE, IMAGE_NUMBER, TEXT_NUMBER
from compress.data.image_text.split import ImageTextSplit
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.split_checks import check_image_counts, find_copies
from compress.data.stratified import Indices
from compress.data.text.encode import length_facts, make_tokenizer, text_spec
from compress.data.text.ragged import Ragged
from compress.data.text.settings import FILE
from compress.data.text.table import TextTable
from compress.data.text.tokenizer import Encoded, TextTokenizer

Moments = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of pixels in [0, 1], per channel."""


class ImageReaders(NamedTuple):
    """How the images of a source are read.

    Attributes:
        of: Reader of the images of these numbers, one for each pair.
        moments: Mean and standard deviation, from the reader of the training images.
        resize: How they are scaled to the input.
    """

    of: Callable[[Indices], Reader]
    moments: Callable[[Reader], Moments]
    resize: Resize


def build_image_text_data(
    splits: Mapping[str, Captions],
    readers: ImageReaders,
    settings: DataSettings,
    origin: DataSource,
    facts: tuple[Fact, ...] = (),
) -> Data:
    """Divide the pairs, encode the captions, and read the images.

    Args:
        splits: Pairs of `train`, `val` and `test`, or of `all`.
        readers: Of the images.
        settings: The `data:` block.
        origin: The source.
        facts: About the source.

    Raises:
        DataError: Too few pairs, no tokenizer, no classes where images are to be classified, or questions where captions are
            wanted.
        MissingPackageError: tokenizers is not installed.
    """
    pairs = divided_pairs(splits, settings)
    if pairs[0].prompts:
        msg = gettext(
            "{source} has questions with answers, for the task visual_language; choose this task, or a source of captions",
            source=settings.source,
        )
        raise DataError(msg)
    tokenizer = make_tokenizer(settings, TextTable(pairs[0].texts), origin.base)
    encoded = [tokenizer.encode(part.texts) for part in pairs]
    images = image_splits([readers.of(part.image) for part in pairs], readers, settings)
    sentences = _class_sentences(pairs, settings, tokenizer)
    made = [
        ImageTextSplit(image, each.ids, _numbers(part, number), sentence, part.texts)
        for image, each, part, number, sentence in zip(
            images, encoded, pairs, _class_numbers(pairs, settings), sentences, strict=True
        )
    ]
    _check_written(encoded, pairs, settings.source)
    train, validation, test = made
    return Data(
        pair_spec(images[0], text_spec(tokenizer, settings, (), pairs=False, has_second=False), settings, readers.resize),
        train,
        validation,
        test,
        source=settings.source,
        warnings=(*facts, *length_facts(encoded, tokenizer), *find_copies(train, validation, test)),
        files={FILE: tokenizer.file},
        groups=pairs[2].members,
    )


def divided_pairs(splits: Mapping[str, Captions], settings: DataSettings) -> list[Captions]:
    """Pairs of training, validation and test, as many as the settings allow.

    Args:
        splits: Pairs of `train`, `val` and `test`, or of `all`.
        settings: The `data:` block.

    Raises:
        DataError: Too few pairs.
    """
    parts = divide(splits, validation=settings.validation, test=settings.test, seed=settings.seed)
    most = (settings.limit, settings.evaluation_limit, settings.evaluation_limit)
    pairs = [limited(part, limit, settings.seed) for part, limit in zip(parts, most, strict=True)]
    check_image_counts([len(part) for part in pairs], settings.source)
    return pairs


def image_splits(readers: Sequence[Reader], source: ImageReaders, settings: DataSettings) -> list[ImageSplit]:
    """Training images with their views, then those of validation and test.

    Args:
        readers: Of the three splits.
        source: Normalisation and resizing.
        settings: The `data:` block.
    """
    size, augment = settings.size, AUGMENTATIONS.get(settings.augment)
    plain = EvaluationTransform(size, source.resize)
    mean, std = source.moments(readers[0])
    augmented = None if augment is None else augment(size, plain)
    transforms = ImageTransforms(size, plain, augmented, settings.views, settings.seed, mean, std, settings.workers)
    still = replace(transforms, augmented=None, views=1)
    return [ImageSplit(reader, each) for reader, each in zip(readers, (transforms, still, still), strict=True)]


def _numbers(pairs: Captions, classes: Tensor | None) -> dict[str, Tensor]:
    """Targets: equal numbers are the same image, the same text, and the same class."""
    texts = np.unique(np.asarray(pairs.texts, dtype=object).astype(str), return_inverse=True)[1].ravel()
    numbers = {IMAGE_NUMBER: pairs.image, TEXT_NUMBER: texts}
    tensors = {name: torch.from_numpy(values.astype(np.int64)) for name, values in numbers.items()}
    return tensors | ({} if classes is None else {CLASS_NUMBER: classes})


def _class_numbers(pairs: Sequence[Captions], settings: DataSettings) -> list[Tensor | None]:
    """Number of the class of each pair among those of all splits; None where images are not classified."""
    if settings.columns.class_sentence is None:
        return [None] * len(pairs)
    for name, part in zip(SPLITS, pairs, strict=True):
        missing = [text for text, own in zip(part.texts, part.classes, strict=True) if not own] if part.classes else part.texts
        if missing:
            msg = gettext(
                "{source}: zero-shot classification needs the class of each image, and {count} of {total} {name} pairs have "
                "none (for example {text!r}); name its column, `columns: {{target: class}}`, or leave zero_shot out",
                source=settings.source,
                count=len(missing),
                total=len(part),
                name=name,
                text=missing[0],
            )
            raise DataError(msg)
    names = sorted({name for part in pairs for name in part.classes})
    return [torch.tensor([names.index(name) for name in part.classes], dtype=torch.int64) for part in pairs]


def _class_sentences(pairs: Sequence[Captions], settings: DataSettings, tokenizer: TextTokenizer) -> list[dict[str, Ragged]]:
    """Tokens of the sentence about the class of each pair, by the prefix of their targets."""
    sentence = settings.columns.class_sentence
    if sentence is None:
        return [{} for _ in pairs]
    return [{CLASS: tokenizer.encode([sentence.replace("{}", name) for name in part.classes]).ids} for part in pairs]


def _check_written(encoded: Sequence[Encoded], pairs: Sequence[Captions], source: str) -> None:
    """Refuse a tokenizer that has no token for most captions, such as one of another script.

    Raises:
        DataError: It has none.
    """
    empty, total = sum(each.empty for each in encoded), sum(map(len, pairs))
    if empty > total / 2:
        msg = gettext(
            "{source}: the tokenizer has no token for {empty} of {total} captions; use a tokenizer of their language, or train "
            "one: `tokenizer: {{train: wordpiece, vocabulary: 4000}}`",
            source=source,
            empty=empty,
            total=total,
        )
        raise DataError(msg)


def pair_spec(images: ImageSplit, text: NetworkSpec, settings: DataSettings, resize: Resize) -> NetworkSpec:
    """Specification of a network for an image and the tokens of a text.

    Args:
        images: Training images.
        text: Specification of a network for the text.
        settings: The `data:` block.
        resize: How an image is scaled to the input.
    """
    assert text.text is not None  # noqa: S101  # as `text_spec` makes it
    image = TensorSpec(name=IMAGE, shape=(BATCH, settings.channels, *settings.size))
    mean, std = images.moments
    both = ImageTextPreprocessing(image=ImagePreprocessing(mean=mean, std=std, resize=resize), text=text.text)
    signature = Signature(inputs=(image, *text.signature.inputs), sizes=text.signature.sizes)
    return NetworkSpec(signature=signature, preprocessing=both)
