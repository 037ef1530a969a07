"""What a task reports of a network beside its metrics: quantities, tables and warnings of the test split. Light."""

from __future__ import annotations

from dataclasses import dataclass, field

from compress.core.entries import Tables
from compress.core.fact import Fact
from compress.core.record import Metrics


@dataclass(frozen=True)
class FurtherResults:
    """Further results of the test split.

    Attributes:
        quantities: By name, for the results of the stage.
        tables: Rows by table name, for the tables of the stage.
        warnings: For the head of the report; the verdict also checks those of `compress.core.warned_check`.
    """

    quantities: Metrics = field(default_factory=dict)
    tables: Tables = field(default_factory=dict)
    warnings: tuple[Fact, ...] = ()
