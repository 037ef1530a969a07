"""A finished run as JSON on standard output, for continuous integration: the verdict first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.cli.common import echo_json
from compress.core.format_quantity import format_quantity

if TYPE_CHECKING:
    from rich.console import Console

    from compress.pipeline.pipeline import Run


def show_run(console: Console, run: Run, *, as_json: bool) -> None:
    """Show a run on the terminal, or print it as JSON on standard output."""
    if as_json:
        _print_json(run)
    else:
        from compress.cli.render import show

        show(console, run)


def _print_json(run: Run) -> None:
    """Print verdict, limits, metrics before and after, and the folder of a run."""
    from compress.core.sentences.limits import allowed_words, explain, limit_words
    from compress.pipeline.report.tables import final_metrics

    record, verdict = run.record, run.verdict
    limits = [
        {
            "limit": limit_words(check),
            "name": check.quantity_name,
            "device": check.device,
            "result": check.result,
            "passed": check.passed,
            "value": check.quantity.value,
            "shown": format_quantity(check.quantity),
            "allowed": allowed_words(check),
            "reason": explain(check),
        }
        for check in (verdict.checks if verdict else ())
    ]
    echo_json(
        {
            "name": record.name,
            "passed": verdict.passed if verdict else None,
            "verdict": verdict.result if verdict else ("smoke run" if record.smoke else "no budget"),
            "limits": limits,
            "metrics": final_metrics(record),
            "teacher": record.teacher.after if record.teacher else {},
            "devices": [row for stage in record.stages for row in stage.benchmark_rows],
            "folder": str(run.folder),
        }
    )
