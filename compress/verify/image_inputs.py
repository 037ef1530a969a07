"""Image files as inputs for the verification, preprocessed as the metadata of the network says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field

from compress.backends.runner_protocol import Array
from compress.core.errors import DataError, message_line
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import Resize
from compress.verify.spaced_samples import evenly_spaced


def read_images(paths: Sequence[Path], shape: tuple[int, ...], count: int, metadata: Mapping[str, str]) -> tuple[Array, str]:
    """Images as inputs of a network, float32 (N, C, H, W), and a description of their origin.

    Args:
        paths: Image files and folders.
        shape: (C, H, W) of the network.
        count: Largest N.
        metadata: Of the ONNX file, with the preprocessing.

    Raises:
        DataError: The network takes no images, there is none, one is not readable, or the metadata is damaged.
    """
    from compress.data.decode_image import MODES

    if len(shape) != 3 or shape[0] not in MODES:
        msg = gettext(
            "images need a network with input (1 to 4, height, width), this one has {shape}: omit the images to use noise",
            shape=shape,
        )
        raise DataError(msg)
    files = [file for path in paths for file in _image_files(path)]
    if not files:
        msg = gettext("no images in {paths}; give image files, or folders with images", paths=", ".join(map(str, paths)))
        raise DataError(msg)
    selected = [files[index] for index in evenly_spaced(len(files), count)]
    preprocessing = _Preprocessing.of(metadata, shape[0])
    pixels = np.stack([_read(path, shape, preprocessing.resize) for path in selected])
    mean, std = (np.array(values).reshape(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    values = ((pixels - mean) / std).astype(np.float32)
    scaling = (
        gettext("normalised as in the metadata of the file")
        if "compress" in metadata
        else gettext("scaled to [0, 1], because the file has no metadata on normalisation")
    )
    origin = gettext(
        "{count} of {files_count} images, {resizing}, {scaling}",
        count=len(selected),
        files_count=len(files),
        resizing=gettext(_RESIZING[preprocessing.resize]),
        scaling=scaling,
    )
    return values, origin


class _Preprocessing(FrozenModel):
    """Preprocessing of images from the metadata of an ONNX file.

    Attributes:
        mean: Mean per channel, of pixels in [0, 1].
        std: Standard deviation per channel.
        resize: How an image is resized to the input.
    """

    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    resize: Resize

    @classmethod
    def of(cls, metadata: Mapping[str, str], channels: int) -> Self:
        """Read the metadata of a file; without metadata of `compress`, pixels are only scaled to [0, 1].

        Raises:
            DataError: The metadata is damaged, or has another number of channels.
        """
        if "compress" not in metadata:
            return cls(mean=(0.0,) * channels, std=(1.0,) * channels, resize="squash")
        try:
            values = {key: json.loads(metadata[key]) for key in ("mean", "std")}
            resize = json.loads(metadata.get("resize", "null"))
            preprocessing = cls.model_validate({**values, "resize": "squash" if resize is None else resize})
        except (KeyError, ValueError, RecursionError) as error:  # a ValidationError is a ValueError
            reason = message_line(error)
            msg = gettext(
                "the file's metadata on images cannot be read ({reason}); export it again, or omit the images", reason=reason
            )
            raise DataError(msg) from error
        if not len(preprocessing.mean) == len(preprocessing.std) == channels:
            counts = gettext(
                "{count} means and {std_count} standard deviations",
                count=len(preprocessing.mean),
                std_count=len(preprocessing.std),
            )
            msg = gettext(
                "the file's metadata has {counts} for {channels} channels; export it again, or omit the images",
                counts=counts,
                channels=channels,
            )
            raise DataError(msg)
        return preprocessing


_RESIZING: dict[Resize, str] = {
    "squash": "resized without regard to the aspect ratio",
    "center_crop": "center-cropped",
    "center_crop_unless_square": "center-cropped unless square",
}


def _image_files(path: Path) -> Iterator[Path]:
    from compress.data.sources.folder_listing import SUFFIXES

    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    elif path.exists():
        yield path
    else:
        msg = gettext("there is no image file or folder {path}", path=path)
        raise DataError(msg)


def _read(path: Path, shape: tuple[int, ...], resize: Resize) -> Array:
    """An image with pixels in [0, 1], (C, H, W)."""
    from compress.data.decode_image import open_image, resize_image

    channels, height, width = shape
    try:
        image = resize_image(open_image(path, channels), height, width, resize)
    except (OSError, ValueError) as error:
        msg = gettext("{path} is not a readable image: {error}", path=path, error=error)
        raise DataError(msg) from error
    return np.asarray(image, dtype=np.float64).reshape(height, width, channels).transpose(2, 0, 1) / 255.0
