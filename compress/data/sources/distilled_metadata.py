"""Metadata of a distilled set, from the header of its file. Imports neither torch nor numpy."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from pydantic import Field, ValidationError

from compress.core.errors import DataError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.data.settings import DataSettings

FILE = "distilled.safetensors"
FORMAT = "compress.distilled 1"
LONGEST = 1 << 24
"""Largest header that is read, in bytes."""


class DistilledMetadata(FrozenModel):
    """Metadata of a distilled set.

    Attributes:
        method: A row of family `synthesis` in the registry.
        augmentation: Operations that it was made under and that augment its images in training; see
            `compress.data.differentiable_augment`.
        views: Number of augmented views of an image in training.
        labelled_by: Description of the networks whose outputs are the soft labels.
        source: Source string of the original data set; empty without one.
        data: Settings of the original data set; None without settings (loaders of the caller, or only a teacher).
        fingerprint: Fingerprint of the original training split; empty without one.
    """

    method: str
    augmentation: tuple[str, ...] = ()
    views: int = Field(default=1, ge=1)
    labelled_by: str = ""
    source: str = ""
    data: DataSettings | None = None
    fingerprint: str = ""


def distilled_file(path: Path) -> Path:
    """The file of a path, which may also be the folder of the file.

    Raises:
        DataError: There is none.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        msg = gettext(
            "no distilled set at {file}; use the folder of a dataset_distillation stage, or the {metadata} in it",
            file=file,
            metadata=FILE,
        )
        raise DataError(msg)
    return file


def read_metadata(path: Path) -> DistilledMetadata:
    """Metadata of the distilled set at a path.

    Raises:
        DataError: The file is missing, or is not a distilled set.
    """
    file = distilled_file(path)
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(min(length, LONGEST)))
        return DistilledMetadata.model_validate_json(header["__metadata__"]["about"])
    except (OSError, struct.error, ValueError, KeyError, TypeError, ValidationError) as error:
        msg = gettext(
            "{file} is not a distilled set, or is damaged ({kind}); create it again with dataset_distillation",
            file=file,
            kind=type(error).__name__,
        )
        raise DataError(msg) from error


def source_description(then: DataSettings, now: DataSettings) -> DataSettings:
    """Settings of the original data set: those of the synthesis, with the current limit of validation and test images."""
    return then.model_copy(update={"evaluation_limit": now.evaluation_limit, "workers": now.workers})
