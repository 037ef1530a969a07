"""A study as JSON on standard output, for continuous integration: the choice first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.cli.common import echo_json

if TYPE_CHECKING:
    from compress.search.front import TrialRow
    from compress.search.search import SearchResult


def print_study(result: SearchResult) -> None:
    """Print choice, runner-up, nearest miss, front, and all trials with objectives and distances from the budget."""
    selection = result.selection

    def number(row: TrialRow | None) -> int | None:
        return None if row is None else row.number

    echo_json(
        {
            "name": result.name,
            "choice": number(selection.best),
            "runner_up": number(selection.runner_up),
            "nearest": number(selection.nearest),
            "front": [row.number for row in selection.front],
            "higher_is_better": result.directions,
            "trials": [_trial(row) for row in result.rows],
            "best_recipe": result.best_recipe or None,
            "folder": str(result.folder),
        }
    )


def _trial(row: TrialRow) -> dict[str, object]:
    measured = row.result
    return {
        "number": row.number,
        "state": row.state,
        "parameters": row.parameters,
        "objectives": measured.objectives if measured else {},
        "test": measured.test if measured else None,
        "within_budget": row.is_feasible,
        "distances": measured.distances if measured else {},
        "reason": row.reason or None,
        "wall_s": row.wall_s,
        "host": row.host,
    }
