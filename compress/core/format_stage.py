"""The line of a finished stage: its metric, size, MACs and latency, and their changes."""

from __future__ import annotations

from compress.core.comparable_latency import LATENCY, previous_latency
from compress.core.format_quantity import format_change, format_quantity
from compress.core.language import gettext
from compress.core.record import Metric, Metrics, Quantity, StageRecord


def _format_short(quantity: Quantity | None) -> str:
    if quantity is None or quantity.value is None:
        return "—"
    return f"{'~' if quantity.how == 'estimated' else ''}{format_quantity(quantity).removesuffix(' MAC')}"


def format_stage_line(record: StageRecord, previous: Metrics, metric: Metric) -> str:
    """One line for a finished stage: metric, size, MACs, latency, and the changes since the stage before.

    The change of a latency is from a session that timed both networks in turns, if there is one.

    Args:
        record: The finished stage.
        previous: Metrics of the stage before.
        metric: The deciding metric.

    Returns:
        At most 120 columns; `~` marks an estimate, `—` a value that was not measured.
    """
    parts = []
    labels = gettext(metric.label), gettext("size"), gettext("MACs"), gettext("latency")
    for name, label in zip((metric.name, "size_bytes", "macs", LATENCY), labels, strict=True):
        now = record.after.get(name)
        before = (previous_latency(record, now) if name == LATENCY else None) or previous.get(name)
        change = format_change(before, now).replace(f" {gettext('points')}", "").replace(" %", "%").replace(" ", "")
        parts.append(f"{label} {_format_short(now)}{f' ({change})' if change else ''}")
    line = f"{record.index:>2} {record.name[:12]:<12} {'  '.join(parts)}"
    return line if len(line) <= 120 else f"{line[:119]}…"
