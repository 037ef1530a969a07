"""Judge a run for continuous integration: breaches of a budget, and what got worse than in a baseline run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from compress.core.budget import Budget
from compress.core.errors import RecipeError, StoreError, ValidationIssue
from compress.core.format_quantity import difference_unit, display_unit, format_quantity, format_with_provenance
from compress.core.language import again, gettext
from compress.core.run_record import RunRecord
from compress.core.sentences.limits import allowed_words, explain, limit_words
from compress.core.verdict import Check, Result
from compress.pipeline.report.outline import metric_of
from compress.pipeline.review.compare_runs import QuantityChange, compare_quantities
from compress.pipeline.review.difference import Direction
from compress.pipeline.review.judge_record import judge_record, recorded_warning_checks

WORDS: Mapping[Result | Direction, str] = {
    "met": "met",
    "not shown": "met, not shown",
    "missed": "missed",
    "better": "better",
    "worse": "worse",
    "equal": "equal",
    "no difference shown": "no difference shown",
    "not comparable": "not comparable",
}
"""Words of the results."""


@dataclass(frozen=True)
class Finding:
    """One limit or one comparison, and whether it breaks the gate.

    Attributes:
        kind: Of a limit of the budget, or of a comparison with the baseline.
        code: Stable name for tools: `limit/latency_p50_ms/host` or `baseline/accuracy`.
        title: What was judged, in words.
        text: Value, what is allowed, and how it came out.
        breach: Whether it fails.
        result: `met`, `not shown`, `missed`; or `better`, `worse`, `equal`, `no difference shown`, `not comparable`.
    """

    kind: Literal["limit", "baseline"]
    code: str
    title: str
    text: str
    breach: bool
    result: Result | Direction

    @property
    def words(self) -> str:
        """The result in words."""
        return gettext(WORDS[self.result])


@dataclass(frozen=True)
class GateResult:
    """All findings of a gate.

    Attributes:
        run: The run's name.
        findings: Limits first, then comparisons with the baseline.
    """

    run: str
    findings: tuple[Finding, ...]

    @property
    def breaches(self) -> tuple[Finding, ...]:
        """Those that fail."""
        return tuple(finding for finding in self.findings if finding.breach)

    @property
    def passed(self) -> bool:
        """Whether none fails."""
        return not self.breaches


def gate(record: RunRecord, budget: Budget | None, baseline: RunRecord | None = None) -> GateResult:
    """Judge a run.

    A limit is a breach where the budget does not pass it. A comparison is one where the run is worse than the baseline by more
    than the interval of the difference, or by more than 1 % where there is no interval; where a metric cannot be compared;
    where a figure on the same device was measured with other inputs or threads; and where the run lacks a figure that the
    baseline has. Times on other hardware are no breach: they say nothing. A network that has learned nothing, or a value that
    is no better than a constant, is a breach in any case.

    Args:
        record: The run.
        budget: Its limits; that of the run's own recipe where None.
        baseline: A run to compare with; None for none.

    Raises:
        StoreError: There is neither a budget nor a baseline, or one of the runs is of toy size.
        RecipeError: The budget does not fit the run's task.
    """
    for judged in filter(None, (record, baseline)):
        if judged.smoke:
            raise StoreError(
                gettext(
                    "the run {name!r} is a smoke run (--smoke), whose numbers are not valid results: run it without --smoke",
                    name=judged.name,
                )
            )
    limits = budget or own_budget(record)
    if limits is None and baseline is None:
        raise StoreError(
            gettext("the recipe of the run has no budget; give one with --budget, or a run to compare with by --against")
        )
    findings: list[Finding] = []
    if limits is not None:
        findings += (_limit(record, check) for check in judge_record(record, limits).checks)
    else:
        findings += (_limit(record, check) for check in recorded_warning_checks(record))
    if baseline is not None:
        findings += map(_comparison, compare_quantities(baseline, record))
    return GateResult(record.name, tuple(findings))


def own_budget(record: RunRecord) -> Budget | None:
    """The budget of the run's recipe; None where it has none.

    Raises:
        RecipeError: An older version wrote it with keys that this one does not know.
    """
    limits = record.recipe.get("budget")
    if not limits:
        return None
    try:
        return Budget.model_validate(limits)
    except ValueError as error:
        message = gettext(
            "the run's own budget cannot be read: {split}; give one with --budget", split=" ".join(str(error).split())[:200]
        )
        raise RecipeError(record.name, [ValidationIssue(message)]) from error


def _limit(record: RunRecord, check: Check) -> Finding:
    unit = display_unit(check.quantity_name, check.quantity, metric_of(record, check.quantity_name))
    value = format_with_provenance(check.quantity, unit)
    text = gettext(
        "{value}, allowed {allowed}: {explanation}", value=value, allowed=allowed_words(check), explanation=explain(check)
    )
    code = "/".join(part for part in ("limit", check.quantity_name, check.device, check.length and str(check.length)) if part)
    return Finding("limit", code, limit_words(check), text, not check.passed, check.result)


def _comparison(comparison: QuantityChange) -> Finding:
    change = comparison.change
    values = " → ".join(
        format_quantity(value, display_unit(comparison.name, value, comparison.metric)) if value else gettext("not recorded")
        for value in (comparison.first, comparison.second)
    )
    if change.direction == "not comparable":
        shown = again(change.quantity.detail)
    else:
        shown = format_with_provenance(change.quantity, difference_unit(change.quantity.unit))
    text = gettext("{values}: {difference}", values=values, difference=shown)
    code = "/".join(part for part in ("baseline", comparison.name, comparison.device) if part)
    return Finding(
        "baseline", code, comparison.label, text, change.direction == "worse" or _is_unknown(comparison), change.direction
    )


def _is_unknown(comparison: QuantityChange) -> bool:
    """Whether the run cannot show that it is no worse: metrics or settings do not compare, or it lacks a figure."""
    if comparison.change.direction != "not comparable":
        return False
    if comparison.by_settings:
        return True
    first, second = comparison.first, comparison.second
    if comparison.metric is not None:
        return comparison.is_deciding or first is None or first.value is not None
    return first is not None and first.value is not None and (second is None or second.value is None)
