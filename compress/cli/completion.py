"""Shell completion: names of recipes, devices, tasks, methods and runs, without imports of torch.

A completion must never print an error into the line that is being written, so what cannot be read is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from compress.core.errors import CompressError
from compress.core.latest_run import records_below

RUNS_SHOWN = 50
"""Most runs that are offered."""
RUN_FOLDERS = ("reports", "runs", ".")
"""Folders that are searched for runs: the default of `--out`, that of the examples, and the working folder."""


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _quiet(find: Callable[[], Iterable[str]]) -> list[str]:
    """What a search finds; nothing where it fails."""
    with suppress(CompressError, OSError):
        return list(find())
    return []


def recipes(incomplete: str) -> list[str]:
    """Recipes: files that start so, and names in `./pipelines` and among the shipped recipes."""
    from compress.config.find_recipe import shipped

    folder = Path(incomplete).parent
    files = _quiet(lambda: (str(path) for path in sorted(folder.glob("*.yaml"))))
    own = _quiet(lambda: (path.stem for path in sorted(Path("pipelines").glob("*.yaml"))))
    names = (*files, *own, *(path.stem for path in shipped()))
    return _starting(incomplete, dict.fromkeys(names))


def devices(incomplete: str) -> list[str]:
    """Device profiles; in a list with commas, the last one."""
    from compress.config.devices import device_names

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _starting(last, _quiet(lambda: device_names()))]


def tasks(incomplete: str) -> list[str]:
    """Tasks that `compress init` offers recipes for."""
    from compress.config.starter import OFFERS

    return _starting(incomplete, OFFERS)


def methods(incomplete: str) -> list[str]:
    """Families of methods, then the methods."""
    from compress.core.registry import entries
    from compress.core.registry_entry import FAMILIES

    return _starting(incomplete, dict.fromkeys((*FAMILIES, *(row.name for row in entries()))))


def schemes(incomplete: str) -> list[str]:
    """Schemes of quantization."""
    from compress.quantize.target_requirements import SCHEME_RUNTIMES

    return _starting(incomplete, ("auto", *SCHEME_RUNTIMES))


def runtimes(incomplete: str) -> list[str]:
    """Runtimes that `compress benchmark` compares, and `all`; in a list with commas, the last one."""
    from compress.core.registry import names

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _starting(last, (*names("runner"), "all"))]


def runs(incomplete: str) -> list[str]:
    """Run directories below the usual folders, or below the folder that was typed, the newest first."""
    typed = Path(incomplete)
    folders = (typed, typed.parent, typed.parent.parent) if incomplete else map(Path, RUN_FOLDERS)
    written: dict[str, float] = {}
    for folder in folders:
        written |= _quiet_times(folder)
    return _starting(incomplete, sorted(written, key=lambda run: -written[run]))[:RUNS_SHOWN]


def _quiet_times(folder: Path) -> dict[str, float]:
    """Time of the record of each run below a folder; empty where it cannot be read."""
    with suppress(OSError):
        return {str(record.parent): record.stat().st_mtime for record in records_below(folder)}
    return {}
