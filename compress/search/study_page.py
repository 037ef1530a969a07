"""The page of a study: front, parameters, importance, failed trials, cost and choice. One file; nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from compress.core.atomic_files import write_text
from compress.core.format_quantity import PROVENANCE_MARKS, display_unit, format_duration, format_interval, format_quantity
from compress.core.language import gettext, joined, language
from compress.core.printable import printable
from compress.core.record import Quantity
from compress.core.sentences.limits import allowed_words, explain, limit_words
from compress.pipeline.report.charts.svg import STYLE
from compress.search.front import TrialRow
from compress.search.importance import parameter_importance
from compress.search.study import SearchStudy
from compress.search.study_charts import draw_front, draw_importance, draw_parallel

if TYPE_CHECKING:
    from compress.search.search import SearchResult

TEMPLATES = Path(__file__).with_name("templates")
PAGE, BEST = "study.html", "best.yaml"
STATES: Mapping[str, str] = {
    "finished": "finished",
    "pruned": "stopped early",
    "failed": "failed",
    "running": "running",
    "waiting": "waiting",
}


@dataclass(frozen=True)
class StudySection:
    """A part of the page.

    Attributes:
        title: Its heading.
        svg: A drawing; empty without one.
        sentences: Paragraphs.
        header: Header of its table.
        rows: Rows of its table.
        code: Text that is shown as it is.
    """

    title: str
    svg: str = ""
    sentences: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    code: str = ""


def write_study(study: SearchStudy, result: SearchResult) -> tuple[Path, ...]:
    """Write the page, and the recipe of the chosen trial where there is one, to the folder of the study."""
    paths = [result.folder / PAGE]
    write_text(paths[0], render_study(study, result))
    if result.best_recipe:
        paths.append(result.folder / BEST)
        write_text(paths[1], result.best_recipe)
    return tuple(paths)


def render_study(study: SearchStudy, result: SearchResult) -> str:
    """The page as text."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["drawing"] = Markup  # the charts escape their texts
    page = environment.get_template("study.html.j2").render(
        title=gettext("Search of {name}", name=result.name),
        sections=list(sections(study, result)),
        language=language(),
        style=Markup(STYLE.read_text(encoding="utf-8")),  # noqa: S704  # a file of this package
    )
    return printable(page) + "\n"


def sections(study: SearchStudy, result: SearchResult) -> list[StudySection]:
    """All parts of the page, in order."""
    finished = [row for row in result.rows if row.result is not None and row.state == "finished"]
    parts = [_choice(result), _cost(result)]
    if finished:
        parts += [*_drawings(study, result, finished), _trials(result, finished)]
    parts += [part for part in (_failures(result.rows), _recipe(result)) if part is not None]
    return parts


def _choice(result: SearchResult) -> StudySection:
    selection = result.selection
    rows = [(gettext("choice"), selection.best), (gettext("runner-up"), selection.runner_up)]
    sentences = [gettext("The first objective decides. Trials whose interval of it reaches the best value are equal in it, and "
                         "the next objective decides. Metrics are those on validation.")]  # fmt: skip
    nearest = selection.nearest
    if selection.best is None:
        sentences.insert(0, gettext("No finished trial is within the budget."))
        rows = [(gettext("nearest miss"), nearest)]
    header = ("", gettext("trial"), *result.directions, gettext("test, not used"), gettext("values"))
    table = tuple(
        (label, str(row.number), *_objectives(row), shown("", row.result.test), values_of(row))
        for label, row in rows
        if row is not None and row.result is not None
    )
    if nearest is not None and nearest.result is not None:
        missed = (check for check in nearest.result.checks if not check.passed)
        sentences += [
            gettext("{limit}: {quantity}, allowed {allowed}: {reason}", limit=limit_words(check),
                    quantity=shown(check.name, check.quantity), allowed=allowed_words(check), reason=explain(check))
            for check in missed
        ]  # fmt: skip
    return StudySection(gettext("Choice"), sentences=tuple(sentences), header=header, rows=table)


def _cost(result: SearchResult) -> StudySection:
    """Time and energy spent, and how many trials are in each state."""
    counts = {state: sum(row.state == state for row in result.rows) for state in STATES}
    states = joined(
        gettext("{count} {state}", count=count, state=gettext(STATES[state])) for state, count in counts.items() if count
    )
    seconds = sum(row.wall_s for row in result.rows)
    computed = sum(sum(row.result.computed_s.values()) for row in result.rows if row.result)
    hosts = sorted({row.host for row in result.rows if row.host})
    sentences = [
        gettext("Trials: {states}.", states=states),
        gettext("Time of all trials: {time}; of the stages that they computed: {computed}.", time=format_duration(seconds),
                computed=format_duration(computed)),
        energy_words([row.result.energy_j for row in result.rows if row.result and row.result.energy_j]),
        gettext("Machines: {hosts}.", hosts=joined(hosts)),
    ]  # fmt: skip
    return StudySection(gettext("Time and energy"), sentences=tuple(sentences))


def energy_words(energies: Sequence[Quantity]) -> str:
    """The energy of all trials with a sensor, or why it was not measured."""
    known = [energy for energy in energies if energy.value is not None]
    if not known:
        reason = energies[0].detail if energies else gettext("no trial is finished")
        return gettext("Energy: not measured ({reason}).", reason=reason)
    joules = sum(energy.value or 0.0 for energy in known)
    return gettext("Energy of {count} of {total} trials: {energy} ({how}).", count=len(known), total=len(energies),
                   energy=f"{joules / 3600:.3g} Wh", how=known[0].detail)  # fmt: skip


def _drawings(study: SearchStudy, result: SearchResult, finished: Sequence[TrialRow]) -> list[StudySection]:
    parts = []
    if len(result.directions) > 1:
        told = gettext("Filled points are within the budget; the dotted line is the front. Orange is the choice, purple the "
                       "runner-up.")  # fmt: skip
        parts.append(StudySection(gettext("Front"), draw_front(finished, result.directions, result.selection), (told,)))
    told = gettext("A line is a trial. Orange is the choice, green the front.")
    parts.append(StudySection(gettext("Parameters"), draw_parallel(finished, result.directions, result.selection), (told,)))
    for name in result.directions:
        shares, reason = parameter_importance(study, name)
        title = gettext("Importance for {name} (fANOVA)", name=name)
        if shares:
            parts.append(StudySection(title, draw_importance(shares, name)))
        else:
            parts.append(StudySection(title, sentences=(gettext("Not computed: {reason}.", reason=reason),)))
    return parts


def _trials(result: SearchResult, finished: Sequence[TrialRow]) -> StudySection:
    header = (
        gettext("trial"),
        *result.directions,
        gettext("test, not used"),
        gettext("budget"),
        gettext("time"),
        gettext("values"),
    )
    rows = tuple(
        (
            str(row.number), *_objectives(row), shown("", row.result.test),
            gettext("met") if row.is_feasible else gettext("over the budget"), format_duration(row.wall_s), values_of(row),
        )
        for row in finished
        if row.result is not None
    )  # fmt: skip
    return StudySection(gettext("Finished trials"), header=header, rows=rows)


def _failures(rows: Sequence[TrialRow]) -> StudySection | None:
    """Trials that failed or were stopped, and why."""
    ended = [row for row in rows if row.state in ("failed", "pruned")]
    if not ended:
        return None
    header = (gettext("trial"), gettext("state"), gettext("reason"), gettext("values"))
    table = tuple((str(row.number), gettext(STATES[row.state]), row.reason, values_of(row)) for row in ended)
    return StudySection(gettext("Trials that failed or were stopped"), header=header, rows=table)


def _recipe(result: SearchResult) -> StudySection | None:
    return StudySection(gettext("Recipe of the choice"), code=result.best_recipe) if result.best_recipe else None


def _objectives(row: TrialRow) -> list[str]:
    assert row.result is not None  # noqa: S101  # of a finished trial
    return [shown(name, quantity, interval=True) for name, quantity in row.result.objectives.items()]


def shown(name: str, quantity: Quantity, *, interval: bool = False) -> str:
    """A quantity with the sign of its provenance, and its interval."""
    unit = display_unit(name, quantity)
    ends = f" ({format_interval(quantity)})" if interval and format_interval(quantity) else ""
    return f"{format_quantity(quantity, unit)}{ends} {PROVENANCE_MARKS[quantity.how]}"


def values_of(row: TrialRow) -> str:
    """The values of a trial by key path."""
    return ", ".join(f"{key} = {_short(value)}" for key, value in row.parameters.items())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
