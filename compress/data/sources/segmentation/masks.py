"""`masks:PATH`: folders of images and of masks (see `mask_listing`), with class numbers as grey values or palette indices.

`train/`, `val/` and `test/` are used as the splits. Without `test/`, the final metrics are from `val/`, and the validation
images are held out of `train/`. Without such folders, both are held out by seed. Images and masks are squashed to `image_size`,
so that the network sees all of the mask. Pixels of value 255 do not count.

Every mask is read once when the data set is loaded, up to `CHECKED` files: its size and its class numbers are compared with the
image and with `classes.txt`. Images are normalised by ImageNet's mean and standard deviation.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from compress.core.atomic_files import sha256
from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.augment import image_tensor
from compress.data.batch import IGNORED
from compress.data.build_mask_data import build_mask_data
from compress.data.decode_image import ORIENTATION, open_image
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.folder_listing import describe, printable
from compress.data.sources.imagefolder import LARGEST, imagenet_moments
from compress.data.sources.segmentation.mask_listing import MaskedFile, Pairs, list_splits, read_classes
from compress.data.stratified import Indices, divide_splits, hold_out, limit_items

CHECKED = 20_000
"""Up to this many masks are read when loading."""
_MODES = frozenset({"1", "L", "P", "I", "I;16", "I;16B", "I;16L"})
_NAMED = 5


@dataclass(frozen=True, eq=False)
class MaskedFiles:
    """Images and masks, read from disk on demand.

    Attributes:
        pairs: Files.
        channels_of_image: 3 (RGB) or 1 (grey).
        labels: Zeros (N,): a sample has no class of its own.
        digest: Hash over names, sizes and modification times.
    """

    pairs: Pairs
    channels_of_image: int
    labels: Indices = field(init=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", np.zeros(len(self.pairs), dtype=np.int64))
        digest = hashlib.sha256(f"{self.channels_of_image}\n".encode())
        for file in (file for pair in self.pairs for file in pair):
            digest.update(f"{printable(file)}\0{describe(file)}\n".encode())
        object.__setattr__(self, "digest", digest.hexdigest())

    @property
    def channels(self) -> int:
        """C + 1."""
        return self.channels_of_image + 1

    def read(self, index: int) -> Tensor:
        """Image and mask as one tensor, uint8 (C + 1, h, w).

        Raises:
            DataError: A file cannot be decoded, or the mask has another size than the image.
        """
        pair = self.pairs[index]
        try:
            image = image_tensor(open_image(pair.image, self.channels_of_image))
            mask = read_mask(pair.mask)
        except (OSError, ValueError) as error:
            msg = gettext(
                "cannot decode {image} with its mask: {error}; replace or remove them", image=printable(pair.image), error=error
            )
            raise DataError(msg) from error
        if image.shape[1:] != mask.shape:
            raise DataError(_other_size(pair, image.shape[:0:-1], mask.shape[::-1]))
        return torch.cat([image, torch.from_numpy(mask)[None]])

    def sizes(self) -> Indices:
        """Bytes of each image file."""
        return np.array([pair.image.stat().st_size for pair in self.pairs], dtype=np.int64)

    def contents(self, index: int) -> bytes:
        """Hash of the image file."""
        return bytes.fromhex(sha256(self.pairs[index].image))

    def name(self, index: int) -> str:
        """Path of the image file."""
        return printable(self.pairs[index].image)


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Find images and masks, split them, check the masks.

    Raises:
        DataError: Missing folders, images without masks, masks without images, of another size or with unknown class numbers.
    """
    root = origin.path
    splits, skipped = list_splits(root)
    classes = read_classes(root)
    train, validation, test = _divide(splits, settings)
    limits = (settings.limit, settings.evaluation_limit, settings.evaluation_limit)
    limited = zip((train, validation, test), limits, strict=True)
    chosen = [limit_items(pairs, limit, (settings.seed, 2)) for pairs, limit in limited]
    _check_masks([pair for pairs in chosen for pair in pairs], len(classes))
    mean, std = imagenet_moments(settings.channels)
    readers = [MaskedFiles(pairs, settings.channels) for pairs in chosen]
    return build_mask_data(readers, mean=mean, std=std, classes=classes, settings=settings, skipped=skipped)


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Class numbers of a mask file, uint8 (h, w).

    Raises:
        ValueError: Its pixels are no class numbers from 0 to 255.
        OSError: It cannot be read, or is no image.
    """
    with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
        if image.width * image.height > LARGEST:
            raise ValueError(
                gettext(
                    "{width} × {height} pixels, more than {largest:,}", width=image.width, height=image.height, largest=LARGEST
                )
            )
        if image.mode not in _MODES:
            raise ValueError(
                gettext(
                    "a mask in mode {mode} has colours and no class numbers; save it as grey or palette PNG", mode=image.mode
                )
            )
        values = np.asarray(image)
    if values.min() < 0 or values.max() > IGNORED:
        raise ValueError(
            gettext(
                "class number {largest}; masks have numbers from 0 to {ignored}, and {ignored_class} for none",
                largest=int(values.max()),
                ignored=IGNORED - 1,
                ignored_class=IGNORED,
            )
        )
    return values.astype(np.uint8)


def _divide(splits: dict[str, Pairs], settings: DataSettings) -> tuple[Pairs, Pairs, Pairs]:
    """Training, validation and test pairs."""
    divide = partial(hold_out, seed=(settings.seed, 1))
    return divide_splits(splits, divide, validation=settings.validation, test=settings.test)


def _check_masks(pairs: list[MaskedFile], classes: int) -> None:
    """Refuse masks that are no masks of their image; the first faults of each kind are named."""
    unreadable, other_sizes, unknown = [], [], []
    for pair in pairs[:CHECKED]:
        try:
            mask, size = read_mask(pair.mask), _size(pair.image)
        except Exception as error:  # the error of Pillow for a damaged file depends on its format
            unreadable.append(f"  {printable(pair.mask)}: {error}")
            continue
        if size != mask.shape[::-1]:
            other_sizes.append(f"  {_other_size(pair, size, mask.shape[::-1])}")
        numbers = np.unique(mask[mask != IGNORED])
        if numbers.size and numbers[-1] >= classes:
            unknown.append(f"  {printable(pair.mask)}: {', '.join(map(str, numbers[numbers >= classes][:_NAMED]))}")
    allowed = gettext(
        "classes.txt has {classes} classes, so numbers are 0 to {last}, and {ignored} for pixels that do not count",
        classes=classes,
        last=classes - 1,
        ignored=IGNORED,
    )
    for faults, problem in (
        (unreadable, gettext("masks or their images cannot be read; replace or remove them")),
        (other_sizes, gettext("masks have another size than their image; make them the same")),
        (unknown, gettext("masks have unknown class numbers; {allowed}", allowed=allowed)),
    ):
        if faults:
            more = [gettext("  and {count} more", count=len(faults) - _NAMED)] if len(faults) > _NAMED else []
            listed = "\n".join([*faults[:_NAMED], *more])
            msg = gettext(
                "{count} of {pairs_count} {problem}:\n{listed}",
                count=len(faults),
                pairs_count=len(pairs),
                problem=problem,
                listed=listed,
            )
            raise DataError(msg)


def _size(path: Path) -> tuple[int, int]:
    """Width and height of an image file, upright."""
    with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
        turned = image.getexif().get(ORIENTATION, 1) >= 5
        return (image.height, image.width) if turned else (image.width, image.height)


def _other_size(pair: MaskedFile, image: tuple[int, ...], mask: tuple[int, ...]) -> str:
    image_size, mask_size = (" × ".join(map(str, size)) for size in (image, mask))
    return gettext(
        "{mask} has {mask_size} pixels, {image} {image_size}",
        mask=printable(pair.mask),
        mask_size=mask_size,
        image=printable(pair.image),
        image_size=image_size,
    )
