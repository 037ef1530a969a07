"""Speed of networks that write texts in the rows of their devices: what a user waits for, beside the run of a whole text."""

from __future__ import annotations

from collections.abc import Iterable

from compress.core.language import gettext
from compress.core.record import BenchmarkRow, Quantity, StageRecord

WRITING = ("time_to_first_token_ms", "decode_tokens_per_s")
"""Quantities that are shown."""
TABLE, TYPICAL = "generation", 128
"""Table of the profile stage, and tokens of the prompt that is shown: the longest measured one up to this."""


def with_generation(stages: Iterable[StageRecord], row: BenchmarkRow) -> BenchmarkRow:
    """The row with the time to first token and the tokens per second of its network on its device, where these were measured.

    Args:
        stages: That may have the table; the last one counts.
        row: Of a device and a network.
    """
    found: dict[int, dict[str, Quantity]] = {}
    for stage in stages:
        for each in stage.tables.get(TABLE, ()):
            if (each.get("device"), each.get("subject")) == (row.device, row.subject):
                found[int(str(each["context"]))] = {name: Quantity.model_validate(each[name]) for name in WRITING}
    measured = {context for context, values in found.items() if any(each.value is not None for each in values.values())}
    if not measured:
        return row
    context = max((each for each in measured if each <= TYPICAL), default=min(measured))
    shown = {
        name: each.model_copy(
            update={"detail": gettext("prompt of {count} tokens; {detail}", count=context, detail=gettext(each.detail))}
        )
        for name, each in found[context].items()
    }
    return row.model_copy(update={"quantities": {**shown, **row.quantities}})
