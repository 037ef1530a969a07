"""Replaces `compress.backends.converted.sidecar` on a device without pydantic: the same description of a converted file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compress.core.errors import ConversionError
from compress.core.language import gettext

ENDING = ".json"


@dataclass(frozen=True)
class TensorLayout:
    """Shape and NumPy type of an input or output."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Sidecar:
    """Same fields as `compress.backends.converted.sidecar.Sidecar`."""

    inputs: Mapping[str, TensorLayout]
    outputs: Mapping[str, TensorLayout]
    carried: str
    files: tuple[str, ...]

    @property
    def repeats(self) -> bool:
        """Whether a batch can be run sample by sample."""
        return all(each.shape[:1] == (1,) for each in (*self.inputs.values(), *self.outputs.values()))


def read_sidecar(path: Path) -> Sidecar:
    """Read the JSON file of a converted file.

    Raises:
        ConversionError: There is none, or it is damaged.
    """
    try:
        fields = json.loads(path.with_name(path.name + ENDING).read_text(encoding="utf-8"))
        tensors = {
            side: {name: TensorLayout(tuple(each["shape"]), each["dtype"]) for name, each in fields[side].items()}
            for side in ("inputs", "outputs")
        }
        return Sidecar(tensors["inputs"], tensors["outputs"], fields["carried"], tuple(fields["files"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = gettext("the description of {path} is missing or damaged", path=path)
        raise ConversionError(msg) from error
