"""Longest sequence of a network of transformers, by its configuration. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

SHIFTED = ("roberta", "xlm-roberta", "camembert", "longformer", "mpnet", "xmod", "data2vec-text")
"""Kinds of networks that count positions from the number of the padding token."""


def positions_of(config: Mapping[str, object]) -> int | None:
    """Tokens of the longest sequence that a network has positions for; None where its configuration names no number.

    Args:
        config: Entries of `config.json`.
    """
    most = config.get("max_position_embeddings", config.get("n_positions"))
    if not isinstance(most, int) or most < 2:
        return None
    kind, pad = config.get("model_type"), config.get("pad_token_id")
    return most - pad - 1 if kind in SHIFTED and isinstance(pad, int) else most


def read_json(path: Path) -> dict[str, object]:
    """Entries of a JSON file; empty without one, or where it is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
