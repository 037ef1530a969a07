"""Construction of `Data` from annotated image files: checks of boxes and files, the three splits."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from compress.core.atomic_files import sha256
from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import image_spec
from compress.data.augment import image_tensor
from compress.data.decode_image import open_image
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.data.sources.detection.augment import AUGMENTATIONS, Sample
from compress.data.sources.detection.split import BoxReader, BoxSplit, BoxTransforms
from compress.data.sources.folder_listing import describe, printable
from compress.data.split_checks import find_copies
from compress.data.stratified import divide_splits, hold_out, limit_items

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet, which pretrained backbones expect."""
SLACK = 1.0
"""Number of pixels by which a box may exceed the image, since some tools count pixels from 1; it is clipped."""
_NAMED = 5
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class AnnotatedFile:
    """An image file and the objects in it.

    Attributes:
        path: Image file.
        size: (width, height) in pixels.
        boxes: Corners (x₁, y₁, x₂, y₂) in pixels.
        classes: Class of each.
    """

    path: Path
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    classes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class AnnotatedImages:
    """Images with boxes, read from disk on demand.

    Attributes:
        files: Images and their objects.
        channels: 3 (RGB) or 1 (grey).
        digest: Hash over paths, sizes, modification times and objects.
    """

    files: tuple[AnnotatedFile, ...]
    channels: int
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(f"{self.channels}\n".encode())
        for file in self.files:
            digest.update(os.fsencode(file.path) + f"\0{describe(file.path)} {file.boxes} {file.classes}\n".encode())
        object.__setattr__(self, "digest", digest.hexdigest())

    def __len__(self) -> int:
        return len(self.files)

    @property
    def most_boxes(self) -> int:
        """Largest number of boxes in an image."""
        return max(len(file.boxes) for file in self.files)

    def read(self, index: int) -> Sample:
        """Decode one image.

        Raises:
            DataError: It cannot be decoded.
        """
        file = self.files[index]
        try:
            image = image_tensor(open_image(file.path, self.channels))
        except (OSError, ValueError) as error:
            msg = gettext("cannot decode {path}: {error}; replace or remove it", path=printable(file.path), error=error)
            raise DataError(msg) from error
        if tuple(image.shape[:0:-1]) != file.size:
            width, height = file.size
            msg = gettext(
                "{path} is {image_width}×{image_height} pixels, its annotation says {width}×{height}; use the annotation of "
                "this image",
                path=printable(file.path),
                image_width=image.shape[2],
                image_height=image.shape[1],
                width=width,
                height=height,
            )
            raise DataError(msg)
        boxes = torch.tensor(file.boxes, dtype=torch.float32).reshape(-1, 4)
        return image, boxes, torch.tensor(file.classes, dtype=torch.int64)

    def sizes(self) -> np.ndarray:
        """Bytes of each file."""
        return np.array([file.path.stat().st_size for file in self.files], dtype=np.int64)

    def contents(self, index: int) -> bytes:
        """Hash of the file."""
        return bytes.fromhex(sha256(self.files[index].path))

    def name(self, index: int) -> str:
        """Path of the file."""
        return printable(self.files[index].path)


def check_boxes(files: Sequence[AnnotatedFile]) -> tuple[AnnotatedFile, ...]:
    """The files with boxes clipped to their images.

    Raises:
        DataError: An image file is missing, or a box has no area, is not finite, or is outside its image by more than `SLACK`
            pixels.
    """
    missing = [printable(file.path) for file in files if not file.path.is_file()]
    _refuse(
        missing,
        (gettext("annotated image is missing"), gettext("annotated images are missing")),
        gettext("add the files or remove their annotations"),
    )
    named = [(file, box) for file in files for box in file.boxes]
    undefined = [f"{printable(file.path)}: {box}" for file, box in named if not all(map(math.isfinite, box))]
    _refuse(
        undefined,
        (gettext("box is not finite"), gettext("boxes are not finite")),
        gettext("corners are numbers of pixels; correct or remove them"),
    )
    flat = [f"{printable(file.path)}: {box}" for file, box in named if not (box[2] > box[0] and box[3] > box[1])]
    _refuse(
        flat,
        (gettext("box has no area"), gettext("boxes have no area")),
        gettext("corners are (x₁, y₁, x₂, y₂) with x₁ < x₂ and y₁ < y₂; correct or remove them"),
    )
    outside = [
        gettext(
            "{path} of {width}×{height} pixels: {box}",
            path=printable(file.path),
            width=file.size[0],
            height=file.size[1],
            box=box,
        )
        for file, box in named
        if min(box) < -SLACK or box[2] > file.size[0] + SLACK or box[3] > file.size[1] + SLACK
    ]
    _refuse(
        outside,
        (gettext("box is outside its image"), gettext("boxes are outside their image")),
        gettext("correct or remove them"),
    )
    return tuple(
        AnnotatedFile(file.path, file.size, tuple(_clip(box, file.size) for box in file.boxes), file.classes) for file in files
    )


def _clip(box: Box, size: tuple[int, int]) -> Box:
    x1, y1, x2, y2 = box
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(size[0])), min(y2, float(size[1]))


def _refuse(faults: Sequence[str], what: tuple[str, str], remedy: str) -> None:
    if faults:
        more = [gettext("and {count} more", count=len(faults) - _NAMED)] if len(faults) > _NAMED else []
        listed = "\n  ".join([*faults[:_NAMED], *more])
        msg = gettext(
            "{count} {what}; {remedy}:\n  {listed}", count=len(faults), what=what[len(faults) > 1], remedy=remedy, listed=listed
        )
        raise DataError(msg)


def build_from_files(parts: Mapping[str, Sequence[AnnotatedFile]], classes: Sequence[str], settings: DataSettings) -> Data:
    """`Data` over annotated image files.

    Args:
        parts: Files of `train`, and of `val` and `test` where the source has them; see `divide_splits`.
        classes: Class names.
        settings: The `data:` block of the recipe.

    Raises:
        DataError: Files or boxes are not valid, see `check_boxes` and `build_detection_data`.
    """
    checked = {name: check_boxes(files) for name, files in parts.items() if files}
    seeds = iter(((settings.seed, 15), (settings.seed + 1, 15)))
    parted = divide_splits(
        {"train": (), **checked},
        lambda items, fraction: hold_out(items, fraction, next(seeds)),
        validation=settings.validation,
        test=settings.test,
    )
    limits = (settings.limit, settings.evaluation_limit, settings.evaluation_limit)
    readers = [
        AnnotatedImages(limit_items(files, limit, (settings.seed, 16)), settings.channels)
        for files, limit in zip(parted, limits, strict=True)
    ]
    grey = settings.channels == 1
    mean, std = ((round(sum(MEAN) / 3, 3),), (round(sum(STD) / 3, 3),)) if grey else (MEAN, STD)
    return build_detection_data(readers, classes, settings, mean=mean, std=std)


def build_detection_data(
    readers: Sequence[BoxReader],
    classes: Sequence[str],
    settings: DataSettings,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    skipped: tuple[Fact, ...] = (),
) -> Data:
    """`Data` over the readers of train, validation and test. The outputs of its signature are set by the task.

    Raises:
        DataError: A split is empty or has no box, there is no class, or the augmentation does not support boxes.
    """
    if not classes:
        msg = gettext("{source} names no class; a detector needs one or more", source=settings.source)
        raise DataError(msg)
    if settings.augment not in ("none", *AUGMENTATIONS):
        msg = gettext(
            "augment: {augment} does not move boxes; use none, {augmentations}",
            augment=settings.augment,
            augmentations=" or ".join(AUGMENTATIONS),
        )
        raise DataError(msg)
    for name, reader in zip(("training", "validation", "test"), readers, strict=True):
        if len(reader) < 1 + (name == "training"):
            msg = gettext(
                "{source}: {count} {name} images; add images, or change `limit`, `validation` and `test`",
                source=settings.source,
                count=len(reader),
                name=name,
            )
            raise DataError(msg)
        if reader.most_boxes == 0:
            msg = gettext(
                "{source}: the {count} {name} images have no box at all; a split needs at least one",
                source=settings.source,
                count=len(reader),
                name=name,
            )
            raise DataError(msg)
    augmented = AUGMENTATIONS.get(settings.augment)
    size, workers = settings.size, settings.workers
    transforms = BoxTransforms(size, augmented, settings.views, settings.seed, mean, std, workers)
    still = BoxTransforms(size, None, 1, settings.seed, mean, std, workers)
    train, validation, test = readers
    channels = settings.channels
    return Data(
        spec=image_spec(
            channels=channels,
            height=size[0],
            width=size[1],
            mean=mean,
            std=std,
            classes=tuple(classes),
            resize="squash",
            outputs=(),
        ),
        train=BoxSplit(train, transforms),
        validation=BoxSplit(validation, still),
        test=BoxSplit(test, still),
        source=settings.source,
        skipped=skipped,
        warnings=find_copies(train, validation, test),
    )
