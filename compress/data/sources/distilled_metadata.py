"""How a distilled set was made, read from the header of its file. Light: no torch, no numpy."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from pydantic import Field, ValidationError

from compress.core.errors import DataError
from compress.core.frozen_model import FrozenModel
from compress.data.settings import DataSettings

FILE = "distilled.safetensors"
FORMAT = "compress.distilled 1"
LONGEST = 1 << 24
"""Largest header that is read, in bytes."""


class DistilledMetadata(FrozenModel):
    """How a distilled set was made.

    Attributes:
        method: A row of family `synthesis` in the method table.
        augmentation: Operations that it was made under and that augment its images in training; see
            `compress.data.differentiable_augment`.
        views: Augmented views that an image cycles through in training.
        labelled_by: Description of the networks whose outputs are the soft labels.
        source: The data set that it was made from, as a recipe names it; empty for none.
        data: Settings of that data set; None where it has none (the caller's own loaders, a teacher alone).
        fingerprint: Of the training split that it was made from; empty for none.
    """

    method: str
    augmentation: tuple[str, ...] = ()
    views: int = Field(default=1, ge=1)
    labelled_by: str = ""
    source: str = ""
    data: DataSettings | None = None
    fingerprint: str = ""


def distilled_file(path: Path) -> Path:
    """The file of a path, which may be its folder.

    Raises:
        DataError: There is none.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        msg = f"no distilled set at {file}; give the folder of a dataset_distillation stage, or the {FILE} in it"
        raise DataError(msg)
    return file


def read_metadata(path: Path) -> DistilledMetadata:
    """Metadata of the set at a path.

    Raises:
        DataError: There is none, or it is something else.
    """
    file = distilled_file(path)
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(min(length, LONGEST)))
        return DistilledMetadata.model_validate_json(header["__metadata__"]["about"])
    except (OSError, struct.error, ValueError, KeyError, TypeError, ValidationError) as error:
        msg = f"{file} is no distilled set, or is damaged ({type(error).__name__}); make it again with dataset_distillation"
        raise DataError(msg) from error


def source_description(then: DataSettings, now: DataSettings) -> DataSettings:
    """Settings to read the data set behind a distilled one with: as it was read then, as many images to judge on as now."""
    return then.model_copy(update={"evaluation_limit": now.evaluation_limit, "workers": now.workers})
