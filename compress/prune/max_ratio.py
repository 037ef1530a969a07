"""`max_ratio:` of a pruning stage: one ceiling, ceilings by layer, or the file that `compress sensitivity` writes. Light."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def _read(value: Any) -> Any:
    """Replace the name of a JSON file by the ceilings in it, so that the recipe on record holds the numbers."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(Path(value).read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"cannot read the ceilings in {value!r}: {error.strerror}; make them with: compress sensitivity RECIPE"
        raise ValueError(msg) from error
    except ValueError as error:
        msg = f"{value!r} is not JSON: {error}"
        raise ValueError(msg) from error
    if isinstance(found, dict) and isinstance(found.get("max_ratio"), dict):
        return found["max_ratio"]
    msg = f"{value!r} has no 'max_ratio' with a ceiling for each layer; make it with: compress sensitivity RECIPE"
    raise ValueError(msg)


Ratio = Annotated[float, Field(gt=0.0, lt=1.0)]
MaxRatios = Annotated[Ratio | dict[str, Annotated[float, Field(ge=0.0, lt=1.0)]], BeforeValidator(_read)]
"""Largest fraction of a layer that may go: of every layer, or by glob of layer names, the first match counting."""
