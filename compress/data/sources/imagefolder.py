"""`imagefolder:PATH`: folders of images, in ImageNet's layout or one folder per class (see `data.sources.folder_listing`).

`train/`, `val/` and `test/` are used as the splits. Without `test/`, the final metrics are from `val/`, as is common for
ImageNet, and the validation images are held out of `train/`. With one folder per class, both are held out by seed. `train/`
may have good parts alone and `test/` also defective ones, as in MVTec AD, for task `anomaly`; without `val/`, validation is
then held out of `train/` and of the defective parts of `test/`, by the same fraction.

Of an animated image or a stack of pages, the first frame is used, as in `infer.py`; the record says so.

Every chosen file is decoded once when the data set is loaded, up to `CHECKED` files; of more than that only the headers
are read, and a damaged file is refused when training reaches it. Normalised by ImageNet's mean and standard deviation.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from compress.core.atomic_files import sha256
from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.data.augment import image_tensor
from compress.data.build_image_data import build_image_data
from compress.data.decode_image import convert_image, open_image
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.folder_listing import (
    FileWalk,
    check_same_classes,
    describe,
    find_masks,
    find_splits,
    find_splits_as_classes,
    list_classes,
    printable,
)
from compress.data.sources.good_parts import FileSelection, hold_out_defects, share_classes
from compress.data.stratified import Indices, balanced_subset, divide_splits, stratified_hold_out

CHECKED = 20_000
"""Up to this many files are decoded when loading; a 500 × 400 JPEG takes half a millisecond to two on one core."""

LARGEST = 89_478_485
"""Pixels of the largest image that is decoded: where Pillow warns of a decompression bomb. As RGB it takes 270 MB."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_NAMED = 10
_SKIPS = 50
_FRAMES = frozenset({".gif", ".tif", ".tiff", ".png", ".webp"})
"""Suffixes of formats with several frames. A JPEG with an embedded preview has two for Pillow; its first is the photograph."""


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Images read from disk on demand.

    Attributes:
        files: Paths.
        labels: Class of each, int64 (N,).
        channels: 3 (RGB) or 1 (grey).
        digest: Hash over names, sizes, modification times and labels.
    """

    files: tuple[Path, ...]
    labels: Indices
    channels: int
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(f"{self.channels}\n".encode())
        for file, label in zip(self.files, self.labels, strict=True):
            digest.update(os.fsencode(file) + f"\0{describe(file)} {label}\n".encode())
        object.__setattr__(self, "digest", digest.hexdigest())

    def sizes(self) -> Indices:
        """Bytes of each file."""
        return np.array([file.stat().st_size for file in self.files], dtype=np.int64)

    def contents(self, index: int) -> bytes:
        """Hash of the file."""
        return bytes.fromhex(sha256(self.files[index]))

    def name(self, index: int) -> str:
        """Path of the file."""
        return printable(self.files[index])

    def read(self, index: int) -> Tensor:
        """Decode one image, uint8 (C, h, w).

        Raises:
            DataError: The file cannot be decoded.
        """
        try:
            return image_tensor(open_image(self.files[index], self.channels))
        except (OSError, ValueError) as error:
            msg = gettext(
                "cannot decode {files}: {reason}; replace or remove it",
                files=printable(self.files[index]),
                reason=_reason(error),
            )
            raise DataError(msg) from error


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Find the images, split them, check that they can be decoded.

    Raises:
        DataError: Missing folder, a class without images, classes that differ between splits, files that cannot be decoded.
    """
    root = origin.path
    (train, validation, test), classes, skipped = _choose(root, settings)
    limits = (settings.limit, settings.evaluation_limit, settings.evaluation_limit)
    readers = []
    for (listing, indices), limit in zip((train, validation, test), limits, strict=True):
        labels = np.asarray(listing.labels, dtype=np.int64)[indices]
        subset = balanced_subset(labels, limit, settings.seed)
        files = tuple(listing.files[index] for index in indices[subset])
        readers.append(ImageFiles(files, labels[subset], settings.channels))
    selected = [file for reader in readers for file in reader.files]
    check_files(selected)
    skipped += frames_skipped(selected)
    mean, std = imagenet_moments(settings.channels)
    data = build_image_data(
        readers, resize="center_crop", mean=mean, std=std, classes=classes, settings=settings, skipped=skipped
    )
    return replace(data, warnings=(*(find_splits_as_classes(root) if "all" in find_splits(root) else ()), *data.warnings))


def imagenet_moments(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of ImageNet's pixels in [0, 1]; those of grey images are the means of both."""
    if channels == 1:
        return (round(sum(_MEAN) / 3, 3),), (round(sum(_STD) / 3, 3),)
    return _MEAN, _STD


def _choose(
    root: Path, settings: DataSettings
) -> tuple[tuple[FileSelection, FileSelection, FileSelection], tuple[str, ...], tuple[Fact, ...]]:
    """Files for training, validation and test; the classes; and the skipped files."""
    folders = find_splits(root)
    files = FileWalk(root)
    listed = {name: list_classes(folder, files) for name, folder in folders.items()}
    masks = find_masks(root) if "train" in folders else ()
    skipped = (*masks, *_shorten([skip for _, skips in listed.values() for skip in skips]))
    listings = share_classes({name: listing for name, (listing, _) in listed.items()})
    has_good_alone = any(listing is not listed[name][0] for name, listing in listings.items())
    whole = {name: (listing, np.arange(len(listing.files), dtype=np.int64)) for name, listing in listings.items()}
    first = whole.pop("all", None) or whole.pop("train")
    for name, (listing, _) in whole.items():
        check_same_classes(first[0], listing, name, root)
    divide = partial(_divide, seed=settings.seed)
    train, validation, test = divide_splits(
        {"train": first, **whole}, divide, validation=settings.validation, test=settings.test
    )
    if has_good_alone and "val" not in folders:
        validation, test = hold_out_defects(validation, test, settings.validation, settings.seed)
    return (train, validation, test), first[0].classes, skipped


def _divide(chosen: FileSelection, fraction: float, seed: int) -> tuple[FileSelection, FileSelection]:
    listing, indices = chosen
    rest, held = stratified_hold_out(np.asarray(listing.labels, dtype=np.int64)[indices], fraction, seed)
    return (listing, indices[rest]), (listing, indices[held])


def _shorten(skips: Sequence[Fact]) -> tuple[Fact, ...]:
    more = len(skips) - _SKIPS
    return (*skips[:_SKIPS], *([Fact.of("data.more_files_skipped", files=more)] if more > 0 else []))


def check_files(files: Sequence[Path]) -> None:
    """Refuse files that are not images or break off; of more than `CHECKED` only the headers are read.

    Raises:
        DataError: There are such files; the message names them.
    """
    faults = []
    for file in files:
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
                _refuse_size(image)
                if len(files) <= CHECKED:
                    image.draft("L", (1, 1))  # JPEG: reads all the data, at an eighth of the resolution
                    image.load()
                if image.mode == "F" or image.mode.startswith("I"):
                    convert_image(image, 1)
        except Exception as error:  # the error of Pillow for a damaged file depends on its format
            faults.append(f"  {printable(file)}: {_reason(error)}")
    if faults:
        more = [gettext("  and {count} more", count=len(faults) - _NAMED)] if len(faults) > _NAMED else []
        listed = "\n".join([*faults[:_NAMED], *more])
        msg = gettext(
            "{count} of {files_count} image files cannot be decoded; replace or remove them:\n{listed}",
            count=len(faults),
            files_count=len(files),
            listed=listed,
        )
        raise DataError(msg)


def frames_skipped(files: Sequence[Path]) -> tuple[Fact, ...]:
    """A fact if files have several frames; only for up to `CHECKED` files."""
    if len(files) > CHECKED:
        return ()
    stacks = [file for file in files if file.suffix.lower() in _FRAMES and _has_second_frame(file)]
    return (Fact.of("data.frames_skipped", printable(stacks[0]), files=len(stacks)),) if stacks else ()


def _has_second_frame(file: Path) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
            image.seek(1)
    except Exception:  # no further frame, or a damaged one, which is not read
        return False
    return True


def _refuse_size(image: Image.Image) -> None:
    """Refuse an image of so many pixels that decoding it may take all memory, before it is decoded."""
    if image.width * image.height > LARGEST:
        msg = gettext(
            "{width} × {height} pixels, more than {largest:,}", width=image.width, height=image.height, largest=LARGEST
        )
        raise ValueError(msg)


def _reason(error: Exception) -> str:
    return gettext("not an image of a known format") if isinstance(error, UnidentifiedImageError) else str(error)
