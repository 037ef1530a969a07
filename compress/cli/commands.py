"""Commands: flags → public API → exit codes.

Exit codes: 0 success; 1 the budget is missed or a check failed; 2 an error of the input or the environment;
128 + number of the signal: interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from compress import __version__
from compress.cli import completion
from compress.cli import measuring_commands as measuring
from compress.cli import one_verb_commands as one_verb
from compress.cli import review_commands as review
from compress.cli.benchmark_command import benchmark
from compress.cli.common import BAD_INPUT, BUDGET_MISSED, AsJson, Overrides, TrustCode, echo, resumable
from compress.cli.common import terminal as open_terminal
from compress.cli.devices import app as devices_app
from compress.cli.generate_command import generate
from compress.cli.init_command import init
from compress.cli.interruption import Interruption
from compress.cli.language_option import Language, take_language, translate_help
from compress.cli.list_command import list_runs
from compress.cli.search_command import search
from compress.core.errors import CompressError
from compress.core.language import gettext, in_language_of_recipe
from compress.core.memory_errors import name_memory_errors
from compress.core.user_path import user_path

MEMORY_ADVICE = "use a smaller network, batch or image size, or a machine with more memory, and check its limit (ulimit -v)"

app = typer.Typer(
    help="Compress a network for an edge device: prune, distill, quantize, export, measure, report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(devices_app, name="devices")

RecipeName = Annotated[
    str,
    typer.Argument(
        help="Path of a recipe, or its name in ./pipelines or among the shipped recipes.", autocompletion=completion.recipes
    ),
]
Smoke = Annotated[
    bool,
    typer.Option(
        "--smoke",
        help="Smoke run of every stage with minimal settings; its numbers are not valid, and the budget is not judged.",
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        echo(f"compress {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    lang: Language = None,
) -> None:
    pass


app.command()(init)


@app.command()
def pipeline(  # one parameter per flag: typer reads them from here
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(parser=user_path, help="Folder of all runs.")] = Path("reports"),
    overrides: Overrides = [],  # noqa: B006
    smoke: Smoke = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Continue from finished work, or compute everything again.")
    ] = True,
    device: Annotated[str, typer.Option(help="Training device: auto, cpu, cuda, mps.")] = "auto",
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Run a recipe and write its report. The exit code is 1 if the budget is missed."""
    from compress.pipeline.pipeline import Pipeline

    console = open_terminal(quiet=quiet, stderr=as_json)
    with resumable():
        prepared = Pipeline.load(recipe, overrides=overrides, smoke=smoke, trust_code=trust_code)
        from compress.cli.run_as_json import show_run
        from compress.cli.terminal import Terminal

        run = prepared.run(out=out, fresh=not resume, device=device, reporter=Terminal(console))
    with in_language_of_recipe(prepared.plan.language):
        show_run(console, run, as_json=as_json)
    if run.verdict is not None and not run.verdict.passed:
        if quiet:
            echo(gettext("budget missed; see {path}", path=run.folder / "report.md"), stderr=True)
        raise typer.Exit(BUDGET_MISSED)


@app.command()
def validate(
    recipe: RecipeName,
    overrides: Overrides = [],  # noqa: B006
    smoke: Smoke = False,
    trust_code: TrustCode = False,
) -> None:
    """Check a recipe without running it, and print every fault with its line."""
    from compress.config.recipe import load
    from compress.core.registry_field import name_of

    loaded = load(recipe, overrides=overrides, smoke=smoke, trust_code=trust_code)
    chain = " → ".join(name_of("stage", stage) for stage in loaded.recipe.stages)
    echo(gettext("{origin}: valid: {name}: {chain}", origin=loaded.origin, name=loaded.recipe.name, chain=chain))


for command in (one_verb.quantize, one_verb.prune, one_verb.export, one_verb.infer, measuring.profile):
    app.command()(command)
app.command()(benchmark)
app.command()(generate)
app.command()(search)
app.command("quantize-report")(measuring.quantize_report)
app.command()(measuring.verify)


@app.command()
def sensitivity(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(parser=user_path, help="Folder of all runs.")] = Path("reports"),
    overrides: Overrides = [],  # noqa: B006
    smoke: Smoke = False,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda, mps.")] = "auto",
    trust_code: TrustCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Measure the metric against the removed fraction of each layer: a figure, and a table for `max_ratio`."""
    from compress.cli.sensitivity import analyse
    from compress.cli.terminal import Terminal

    with resumable():
        _, files = analyse(
            recipe,
            out=out,
            overrides=overrides,
            smoke=smoke,
            device=device,
            trust_code=trust_code,
            reporter=Terminal(open_terminal(stderr=as_json)),
        )
    if as_json:
        echo(files[0].read_text(encoding="utf-8").rstrip())
        return
    for path in files:
        echo(path)


@app.command()
def report(
    run: review.RunPath,
    out: Annotated[Path | None, typer.Option(parser=user_path, help="Output folder; by default the run directory.")] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Also write report.pdf, printed by an installed Chromium browser.")
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Render a report again from its record."""
    from compress.cli.open_page import open_page
    from compress.pipeline.publish import rerender_report
    from compress.pipeline.read_record import unverified
    from compress.pipeline.report.pdf import write_pdf

    files = rerender_report(run, out)
    if note := unverified(run):
        echo(note, stderr=True)
    for path in files:
        echo(path)
    page = next(path for path in files if path.suffix == ".html")
    if pdf:
        write_pdf(page, page.with_suffix(".pdf"))
        echo(page.with_suffix(".pdf"))
    if show:
        open_page(page)


@app.command()
def check(
    run: review.RunPath,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; the exit code is the result.")] = False,
) -> None:
    """Compare the files of a run with their checksums. The exit code is 1 if a file is missing or changed."""
    from compress.cli.render import show_check
    from compress.pipeline.check_run import check_run

    result = check_run(run)
    show_check(open_terminal(quiet=quiet), run, result)
    if not result.whole:
        raise typer.Exit(BUDGET_MISSED)


app.command("list")(list_runs)
app.command()(review.compare)
app.command()(review.gate)
app.command()(review.history)
app.command()(review.card)


@app.command()
def methods(
    name: Annotated[
        str | None,
        typer.Argument(metavar="FAMILY|METHOD", help="Only this family or method.", autocompletion=completion.methods),
    ] = None,
) -> None:
    """List every method that a recipe can name, with its source."""
    from compress.cli.terminal import table
    from compress.core.registry import entries, named
    from compress.tasks.choice import option_names

    chosen = entries() if name is None else named(name)
    rows = [(row.family, row.name, row.source, ", ".join(option_names(row))) for row in chosen]
    header = gettext("family|name|source|options").split("|")
    has_options = any(options for *_, options in rows)
    table(
        open_terminal(),
        "",
        header if has_options else header[:3],
        [row if has_options else row[:3] for row in rows],
        words=True,
    )


@app.command()
def schema(
    of: Annotated[Literal["recipe", "record"], typer.Argument(metavar="[recipe|record]", help="What to describe.")] = "recipe",
    out: Annotated[Path | None, typer.Option(parser=user_path, help="Write to this file.")] = None,
) -> None:
    """Print the JSON schema of recipes, for editors, or of run records, for programs that read them."""
    from compress.config.recipe import schema as recipe_schema
    from compress.core.atomic_files import write_text
    from compress.pipeline.record_schema import record_schema

    text = json.dumps(recipe_schema() if of == "recipe" else record_schema(), indent=1)
    if out is None:
        echo(text)
    else:
        write_text(out, text + "\n")


def main() -> None:
    """Run the command line; errors that the user can correct become a message and an exit code."""
    interruption = Interruption()
    with interruption.handled():
        try:
            sys.argv[1:] = take_language(sys.argv[1:])
            with name_memory_errors(gettext("the command"), gettext(MEMORY_ADVICE)):
                command = typer.main.get_command(app)
                translate_help(command)
                command()
        except CompressError as error:
            echo(gettext("error: {error}", error=error), stderr=True)
            sys.exit(BAD_INPUT)
        except (ImportError, OSError) as error:  # an error of the environment: a limit on memory, files or processes
            words = " ".join(str(error).split())
            advice = gettext(
                "check memory, free space, limits (ulimit -a) and the installed packages, then run the same command again"
            )
            kind = type(error).__name__
            echo(gettext("error: {kind}: {words}; {advice}", kind=kind, words=words, advice=advice), stderr=True)
            sys.exit(BAD_INPUT)
        except (KeyboardInterrupt, SystemExit):
            if interruption.signal is None:
                raise
            sys.exit(128 + interruption.signal)
