"""How vectors of sentences are made of hidden states, from a recipe or from a folder of sentence-transformers. Light."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from compress.core.errors import ModelError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.user_path import user_path

MODULES, POOLING = "modules.json", "1_Pooling"
_MODES = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max"}
_PARTS = ("Transformer", "Pooling", "Normalize")


class SentenceSettings(FrozenModel):
    """How the vector of a text is made.

    Attributes:
        pooling: `mean` of the hidden states of the tokens, that of the first token (`cls`), or the largest values (`max`).
        normalize: Whether vectors have length 1.
        dimensions: Of the vectors: a linear layer with new weights, so that a student has the dimensions of its teacher. None
            for those of the hidden states.
    """

    pooling: Literal["mean", "cls", "max"] = "mean"
    normalize: bool = True
    dimensions: int | None = Field(default=None, ge=1)


def sentence_settings(name: str, args: Mapping[str, object], base: Path) -> SentenceSettings:
    """Settings of a recipe, else those of the folder, else the defaults.

    Args:
        name: Folder or name of the network.
        args: Entries of the recipe; others than these settings are left out.
        base: Folder that a relative folder starts from.

    Raises:
        ModelError: A setting is invalid, or the folder has parts that are not known.
    """
    given = {key: value for key, value in args.items() if key in SentenceSettings.model_fields}
    folder = user_path(name, base)
    stored = _of_folder(folder, name) if (folder / MODULES).is_file() else {}
    try:
        return SentenceSettings.model_validate({**stored, **given})
    except ValidationError as error:
        first = error.errors()[0]
        msg = gettext(
            "hf:{name}: args.{key} is {value!r}: {reason}",
            name=name,
            key=".".join(map(str, first["loc"])),
            value=first["input"],
            reason=first["msg"],
        )
        raise ModelError(msg) from error


def _of_folder(folder: Path, name: str) -> dict[str, object]:
    """Settings of a folder of sentence-transformers."""
    try:
        parts = [str(part["type"]).rpartition(".")[2] for part in json.loads((folder / MODULES).read_bytes())]
        modes = json.loads((folder / POOLING / "config.json").read_bytes())
        chosen = [key for key, value in modes.items() if key.startswith("pooling_mode") and value is True]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        msg = gettext("{folder} holds no readable {modules} and pooling: {error}", folder=folder, modules=MODULES, error=error)
        raise ModelError(msg) from error
    unknown = [part for part in parts if part not in _PARTS] + [key for key in chosen if key not in _MODES]
    if unknown or len(chosen) != 1:
        msg = gettext(
            "hf:{name} makes its vectors by {parts}; taken are one pooling of mean, cls and max, and scaling to length 1",
            name=name,
            parts=", ".join([*parts, *chosen]),
        )
        raise ModelError(msg)
    return {"pooling": _MODES[chosen[0]], "normalize": "Normalize" in parts}
