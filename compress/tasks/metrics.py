"""Descriptions of the metrics that decide, one for each kind of task. Light: read without torch."""

from __future__ import annotations

from compress.core.record import Metric

ACCURACY = Metric(name="accuracy", label="accuracy", unit="fraction", higher_is_better=True)
"""Of classification. Records that name no metric are from before it was recorded, when there was no other."""
