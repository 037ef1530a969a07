"""`compress search`: trials of a recipe with other values, the choice among them, and the recipe of a trial."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.cli import completion
from compress.cli.common import BUDGET_MISSED, INTERRUPTED, TrustCode, echo
from compress.cli.common import terminal as open_terminal
from compress.core.errors import SearchError
from compress.core.language import gettext
from compress.core.user_path import user_path

if TYPE_CHECKING:
    from compress.search.search import Search
    from compress.search.study import SearchStudy

RecipeToSearch = Annotated[
    str,
    typer.Argument(
        help="Path of a recipe with `search:`, or its name in ./pipelines or among the shipped recipes.",
        autocompletion=completion.recipes,
    ),
]


def search(  # one parameter per flag: typer reads them from here
    recipe: RecipeToSearch,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials of the whole study; by default those of the recipe.")
    ] = None,
    duration: Annotated[str | None, typer.Option("--time", help="Start no trial after this time: 90s, 30m, 2h.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that run trials on this machine.")] = 1,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="File of a journal, sqlite:///FILE or postgresql://USER@HOST/NAME, which hosts can share; by default a file "
            "in the folder of the study.",
        ),
    ] = None,
    worker: Annotated[bool, typer.Option("--worker", help="Join the study in silence, as one of its workers.")] = False,
    best: Annotated[bool, typer.Option("--best", help="Run nothing; print the recipe of the chosen trial.")] = False,
    trial: Annotated[int | None, typer.Option(min=0, help="With --best: print the recipe of this trial.")] = None,
    out: Annotated[Path, typer.Option(parser=user_path, help="Folder of all runs.")] = Path("reports"),
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one value, e.g. search.engine=random.")
    ] = [],  # noqa: B006
    smoke: Annotated[bool, typer.Option("--smoke", help="Few trials at toy size; their numbers are not valid.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    device: Annotated[str, typer.Option(help="Training device: auto, cpu, cuda, mps.")] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print choice, front and trials as JSON; all else goes to standard error.")
    ] = False,
    trust_code: TrustCode = False,
) -> None:
    """Search the values of a recipe, and show the best trials so far. The exit code is 1 if none is within the budget."""
    from compress.cli.render_search import LiveStudy, show_result
    from compress.cli.search_as_json import print_study
    from compress.cli.terminal import Terminal
    from compress.profile.parse_duration import parse_duration
    from compress.search.search import Search
    from compress.search.study_page import write_study

    console = open_terminal(quiet=quiet or worker, stderr=as_json)
    prepared = Search(recipe, overrides=overrides, smoke=smoke, trust_code=trust_code)
    if best:
        _print_recipe(prepared, out, storage, trial)
        return
    time_s = parse_duration(duration) if duration else None
    live = LiveStudy(console, lambda study: prepared.result(study, out))
    options = _Options(trials, time_s, workers, storage, out, device)
    command = [recipe, *(part for change in overrides for part in ("--set", change)), *(["--smoke"] if smoke else []),
               *(["--trust-code"] if trust_code else [])]  # fmt: skip
    try:
        with live:
            study = _run(prepared, options, command, live.update, Terminal(open_terminal(quiet=quiet, stderr=True)), worker)
    except KeyboardInterrupt:
        if not (worker and quiet):  # the command that started it says so
            advice = gettext("interrupted: finished trials and stages are kept; run the same command again to continue")
            echo(advice, stderr=True)
        raise typer.Exit(INTERRUPTED) from None
    if worker:
        return
    result = prepared.result(study, out)
    show_result(console, result)
    for path in write_study(study, result):
        console.print(str(path), markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print_study(result)
    if result.selection.best is None:
        raise typer.Exit(BUDGET_MISSED)


class _Options:
    """How a study is run, from the flags of the command."""

    def __init__(
        self, trials: int | None, time_s: float | None, workers: int, storage: str | None, out: Path, device: str
    ) -> None:
        self.trials, self.time_s, self.workers, self.storage = trials, time_s, workers, storage
        self.out, self.device = out, device

    def arguments(self, remaining_s: float | None) -> list[str]:
        """Arguments of `compress search` for a worker."""
        given = {"--trials": self.trials, "--storage": self.storage, "--out": self.out, "--device": self.device,
                 "--time": None if remaining_s is None else f"{max(remaining_s, 0.001):.3f}"}  # fmt: skip
        return [part for name, value in given.items() if value is not None for part in (name, str(value))]


def _run(
    prepared: Search,
    options: _Options,
    command: list[str],
    on_trial: Callable[[SearchStudy], None],
    reporter: object,
    worker: bool,
) -> SearchStudy:
    from compress.cli.terminal import Terminal
    from compress.search.search import run_workers

    assert isinstance(reporter, Terminal)  # noqa: S101  # as `search` made it
    if options.workers == 1:
        name = f"{socket.gethostname()}:{os.getpid()}" if worker else ""
        prepared.run(out=options.out, trials=options.trials, time_s=options.time_s, storage=options.storage,
                     device=options.device, reporter=reporter, worker=name, on_trial=on_trial)  # fmt: skip
        return prepared.open(options.out, storage=options.storage, reporter=reporter)
    study = prepared.open(options.out, storage=options.storage, reporter=reporter)
    most = options.trials or prepared.source.settings.trials
    end_s = None if options.time_s is None else time.monotonic() + options.time_s

    def poll() -> bool:
        on_trial(study)
        states = study.states()
        open_trials = states["running"] + states["waiting"]
        is_over = end_s is not None and time.monotonic() > end_s
        return bool(open_trials) or (states.total() < most and not is_over)

    remaining_s = None if end_s is None else end_s - time.monotonic()
    run_workers(["search", *command, "--worker", "--quiet", *options.arguments(remaining_s)], options.workers, poll)
    on_trial(study)
    return study


def _print_recipe(prepared: Search, out: Path, storage: str | None, number: int | None) -> None:
    """Print the recipe of the chosen trial, or of another one.

    Raises:
        SearchError: There is no such trial, or none is within the budget.
    """
    study = prepared.open(out, storage=storage, create=False)
    result = prepared.result(study, out)
    row = result.selection.best
    if number is not None:
        row = next((row for row in result.rows if row.number == number), None)
        if row is None:
            raise SearchError(gettext("the study has no trial {number}", number=number))
    if row is None:
        nearest = result.selection.nearest
        if nearest is None:
            raise SearchError(
                gettext("no trial of the study {name} is finished; run the search without --best", name=study.name)
            )
        advice = gettext("the nearest miss is trial {number}: --best --trial {number}", number=nearest.number)
        raise SearchError(gettext("no finished trial is within the budget; {advice}", advice=advice))
    flags = ("--smoke",) if prepared.source.smoke else ()
    command = " ".join(("compress", "pipeline", "FILE", *flags, "--out", str(out)))
    for line in (
        gettext("trial {number} of the study {name}; run it: {command}", number=row.number, name=study.name, command=command),
        gettext("relative paths are those of the searched recipe: keep this file in its folder"),
    ):
        echo(f"# {line}")
    echo(prepared.recipe_of(row).rstrip())
