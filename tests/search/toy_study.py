"""A study whose trials are arithmetic, so that tests of workers and storages take milliseconds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from compress.config.search_settings import SearchSettings
from compress.core.record import Quantity
from compress.search.front import TrialRow
from compress.search.measure_trial import TrialResult
from compress.search.storage import open_storage
from compress.search.study import SearchStudy, identity_of

TREE: dict[str, Any] = {"name": "toy", "stages": [{"prune": {"target": {"macs": 0.5}}}]}
SETTINGS = SearchSettings(
    space={"stages.prune.target.macs": {"low": 0.1, "high": 0.9}}, objectives=["accuracy", {"latency_ms": "host"}]
)
DIRECTIONS = {"accuracy": True, "latency_ms.host": False}


def source(settings: SearchSettings = SETTINGS, **fields: Any) -> Any:
    return SimpleNamespace(
        **{"name": "toy", "seed": 0, "settings": settings, "tree": TREE, "smoke": False, "metrics": ()} | fields
    )


def open_study(storage: str | Path, settings: SearchSettings = SETTINGS, **options: Any) -> SearchStudy:
    identity = identity_of(TREE, settings, smoke=False)
    return SearchStudy(open_storage(str(storage), **options), "toy", identity, DIRECTIONS)


def quantity(value: float, half: float = 0.0) -> Quantity:
    interval = (value - half, value + half) if half else None
    return Quantity.measured(value, "fraction", interval=interval, runs=100)


def result(accuracy: float, latency: float, *, half: float = 0.0, **distances: float) -> TrialResult:
    objectives = {"accuracy": quantity(accuracy, half), "latency_ms.host": quantity(latency)}
    return TrialResult(objectives=objectives, distances=distances, test=quantity(accuracy), digest="d")


def row(number: int, accuracy: float, latency: float, *, half: float = 0.0, **distances: float) -> TrialRow:
    return TrialRow(number, "finished", {"x": number}, result(accuracy, latency, half=half, **distances))
