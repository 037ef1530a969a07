"""Inputs and outputs of a converted file, in a JSON file beside it: most formats keep neither names nor the order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from compress.core.atomic_files import write_text
from compress.core.errors import ConversionError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext

ENDING = ".json"
Carried = Literal["nothing", "all", "symmetric", "weights", "unused"]
"""What a file holds of the quantization of its ONNX file: there is none; everything; ranges of activations made symmetric; the
integers of weights alone; nothing, since it computes in float."""


class TensorLayout(FrozenModel):
    """Shape and NumPy type of an input or output."""

    shape: tuple[int, ...]
    dtype: str


class Sidecar(FrozenModel):
    """What the runner of a converted file must know.

    Attributes:
        inputs: Inputs by name, in the order of the network.
        outputs: Outputs by name, in the order of the network.
        carried: What the file holds of the quantization of its ONNX file.
        files: Names of all files of the network, the main file first.
    """

    inputs: Mapping[str, TensorLayout]
    outputs: Mapping[str, TensorLayout]
    carried: Carried
    files: tuple[str, ...]

    @property
    def repeats(self) -> bool:
        """Whether a batch can be run sample by sample: every tensor has one sample along its first axis."""
        return all(each.shape[:1] == (1,) for each in (*self.inputs.values(), *self.outputs.values()))


def write_sidecar(path: Path, sidecar: Sidecar) -> None:
    """Write the JSON file of a converted file."""
    write_text(_beside(path), sidecar.model_dump_json(indent=1))


def read_sidecar(path: Path) -> Sidecar:
    """Read the JSON file of a converted file.

    Raises:
        ConversionError: There is none, or it is damaged.
    """
    try:
        return Sidecar.model_validate(json.loads(_beside(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        msg = gettext(
            "cannot load {path}: {beside}, which describes its inputs, is missing or damaged; keep both files together",
            path=path,
            beside=_beside(path).name,
        )
        raise ConversionError(msg) from error


def network_files(path: Path) -> list[Path]:
    """All files of a converted network, the main file first."""
    return [path.parent / name for name in read_sidecar(path).files]


def file_sizes(path: Path) -> int:
    """Bytes of all files of a converted network."""
    return sum(file.stat().st_size for file in network_files(path))


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ENDING)
