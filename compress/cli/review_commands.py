"""Commands on finished runs, from their records: `compare`, `gate`, `history`, `card`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from compress.cli import completion
from compress.cli.common import BUDGET_MISSED, echo, echo_json, run_path
from compress.cli.common import terminal as open_terminal
from compress.core.language import gettext
from compress.core.user_path import user_path

RunPath = Annotated[
    Path,
    typer.Argument(parser=run_path, help="A run directory, or its record.json.", autocompletion=completion.runs),
]


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            parser=run_path, help="Run directories, or their record.json; two or more.", autocompletion=completion.runs
        ),
    ],
    baseline: Annotated[
        Path | None, typer.Option(parser=run_path, help="The run to compare the others with; the first by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(parser=user_path, help="Also write the comparison as Markdown.")] = None,
) -> None:
    """Compare runs: what differs by more than its interval, and which settings differ."""
    from compress.cli.render_review import show_comparison
    from compress.core.atomic_files import write_text
    from compress.core.errors import StoreError
    from compress.pipeline.read_record import read_record
    from compress.pipeline.review.comparison_tables import comparison_markdown, comparison_tables

    records = [read_record(run) for run in runs]
    first = read_record(baseline) if baseline is not None else records.pop(0)
    if not records:
        raise StoreError(gettext("one run was given; give two or more, or another one with --baseline"))
    tables = comparison_tables(first, records)
    show_comparison(open_terminal(), tables)
    if out is not None:
        write_text(out, comparison_markdown(tables))
        echo(out)


def gate(  # a typer command: each option is a parameter
    run: RunPath,
    budget: Annotated[
        Path | None, typer.Option(parser=user_path, help="YAML with limits; the budget of the run's recipe by default.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(parser=run_path, help="A run that this one must not be worse than, beyond the intervals.")
    ] = None,
    summary: Annotated[Path | None, typer.Option(parser=user_path, help="Write a Markdown summary here.")] = None,
    junit: Annotated[Path | None, typer.Option(parser=user_path, help="Write JUnit XML here.")] = None,
    sarif: Annotated[Path | None, typer.Option(parser=user_path, help="Write SARIF 2.1.0 here.")] = None,
    github: Annotated[bool, typer.Option("--github", help="Print annotations for GitHub Actions.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print verdict and findings as JSON.")] = False,
) -> None:
    """Judge a run by a budget, for continuous integration. Exits with 1 and prints a line for each breach."""
    from compress.core.atomic_files import write_text
    from compress.pipeline.read_record import check_artifacts, read_record, unverified
    from compress.pipeline.review import gate_formats
    from compress.pipeline.review.budget_file import read_budget
    from compress.pipeline.review.gate import gate as judge

    limits = read_budget(budget) if budget is not None else None
    other = read_record(against) if against is not None else None
    check_artifacts(run)
    result = judge(read_record(run), limits, other)
    for note in filter(None, (unverified(judged) for judged in (run, against) if judged is not None)):
        echo(note, stderr=True)
    for path, write in ((summary, gate_formats.markdown), (junit, gate_formats.junit), (sarif, gate_formats.sarif)):
        if path is not None:
            write_text(path, write(result))
    if as_json:
        echo_json({"run": result.run, "passed": result.passed, "findings": [asdict(finding) for finding in result.findings]})
    for line in () if as_json else gate_formats.lines(result):
        echo(line)
    if github:
        typer.echo(gate_formats.github(result), nl=False)
    if not result.passed:
        raise typer.Exit(BUDGET_MISSED)
    if not as_json:
        echo(f"{result.run}: {len(result.findings)} of {len(result.findings)} passed")


def history(
    folder: Annotated[Path, typer.Argument(parser=user_path, help="Folder of all runs.")] = Path("reports"),
    out: Annotated[
        Path | None, typer.Option(parser=user_path, help="Where to write the page; FOLDER/history.html by default.")
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Read every record again.")] = False,
) -> None:
    """Write a page over all runs in a folder: a table that sorts and filters, and trends of each recipe."""
    from compress.core.atomic_files import write_text
    from compress.pipeline.review.history_page import render
    from compress.pipeline.review.run_index import read_runs

    page = out or folder / "history.html"
    write_text(page, render(read_runs(folder, rebuild=rebuild), folder))
    echo(page)


def card(
    run: RunPath,
    out: Annotated[Path | None, typer.Option(parser=user_path, help="Output folder; RUN/card by default.")] = None,
    license_id: Annotated[
        str, typer.Option("--license", metavar="ID", help="Licence of the network by its SPDX identifier, such as Apache-2.0.")
    ] = "",
    base_model: Annotated[
        str, typer.Option(metavar="NAME", help="Name on the Hugging Face hub of the network that the run started from.")
    ] = "",
) -> None:
    """Write a Hugging Face model card and a CycloneDX bill of materials of a run, from its record."""
    from compress.pipeline.card.write_card import write_card

    for path in write_card(run, out, license_id=license_id, base_model=base_model):
        echo(path)
