"""Table of the speed of networks that continue texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from compress.cli.terminal import table
from compress.core.format_quantity import format_with_provenance, quantity_label
from compress.core.language import gettext
from compress.core.record import Quantity

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = (
    "decode_tokens_per_s",
    "time_to_first_token_ms",
    "prefill_tokens_per_s",
    "token_p95_ms",
    "size_bytes",
    "memory_bytes",
    "key_value_bytes",
)
"""Quantities in the order in which users of devices compare them."""


def show_generation(console: Console, rows: Sequence[Mapping[str, object]]) -> None:
    """Show a row for each context and file.

    Args:
        console: The terminal.
        rows: Those of `measure_generation`.
    """
    if not rows:
        return
    header = [*gettext("file|device|prompt").split("|"), *map(quantity_label, COLUMNS)]
    cells = [
        [
            *(str(row[name]) for name in ("subject", "device", "context")),
            *(format_with_provenance(Quantity.model_validate(row[name])) for name in COLUMNS),
        ]
        for row in rows
    ]
    table(console, gettext("speed of prompts and of further tokens"), header, cells)
