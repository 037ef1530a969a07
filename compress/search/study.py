"""A study in its storage: its identity, its trials as rows, and trials whose worker ended.

A trial is settled when it is finished, pruned or failed for a reason of its own. A trial whose worker ended is abandoned: it
fails in the storage, and a trial with equal values takes its place, which says which one it repeats. Two workers may notice the
same death; of two repetitions the one with the lower number counts, and the other is dropped before it runs.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from compress.config.search_settings import SearchSettings
from compress.config.search_space import Tree
from compress.core.errors import StoreError
from compress.core.language import gettext
from compress.search.early_stop import to_promote
from compress.search.front import TrialRow, TrialState, cost
from compress.search.measure_trial import TrialResult
from compress.search.owner import OWNER, OwnerWatch, this_process
from compress.search.repeated_results import RepeatedResults
from compress.search.storage import import_optuna

IDENTITY, RESULT, REASON, REPEATS, ABANDONED, DROPPED, INTERRUPTED = (
    "identity", "result", "reason", "repeats", "abandoned", "dropped", "interrupted",
)  # fmt: skip
"""Names of attributes of the study and of its trials."""
_STATES: Mapping[str, TrialState] = {
    "RUNNING": "running",
    "WAITING": "waiting",
    "COMPLETE": "finished",
    "PRUNED": "pruned",
    "FAIL": "failed",
}
FAR = 1e9
"""Added to the cost of a trial over the budget, so that it goes on after all trials within it."""
STEPS, RUNG, PROMOTES = "steps", "rung", "promotes"
"""Intermediate values of a trial, its amount of training, and the trial with less training that it goes on from."""
WRITTEN = -(10**9)
"""What trials with the values of the recipe repeat: two workers that create a study at once run one of them."""
MOST_DEATHS = 3
"""Deaths of the worker of one trial after which the trial counts as failed; it may be what kills the worker."""


def identity_of(tree: Tree, search: SearchSettings, *, smoke: bool) -> dict[str, Any]:
    """What all workers of a study must agree on: recipe, spaces and objectives. The settings that are left out may change."""
    settings = search.model_dump(mode="json", exclude={"trials", "engine", "latency"})
    known = {key: value for key, value in tree.items() if key != "search"}
    identity: dict[str, Any] = json.loads(
        json.dumps({**known, "search": settings, "smoke": smoke}, sort_keys=True, default=str)
    )
    return identity


class SearchStudy:
    """A study.

    Args:
        storage: An open storage.
        name: Name of the study.
        identity: See `identity_of`.
        directions: Objectives, each with whether higher is better.
        create: Whether a study that is not there is created.

    Attributes:
        is_new: Whether it was not there.
        repeated: Results that replace those of trials.

    Raises:
        StoreError: The storage has a study of this name with another identity, or none.
    """

    def __init__(
        self,
        storage: Any,
        name: str,
        identity: Mapping[str, Any],
        directions: Mapping[str, bool],
        *,
        create: bool = True,
    ) -> None:
        self.optuna = import_optuna()
        self.name = name
        self.directions = dict(directions)
        if not create and name not in self.optuna.get_all_study_names(storage):
            raise no_study(name, "")
        self.study = self.optuna.create_study(
            storage=storage,
            study_name=name,
            pruner=self.optuna.pruners.NopPruner(),
            directions=["maximize" if higher else "minimize" for higher in directions.values()],
            load_if_exists=True,
        )
        self._own_new_trials(storage)
        self.repeated = RepeatedResults(self.study)
        self.watch = OwnerWatch()
        self._settled: dict[int, TrialRow] = {}
        self.is_new = self._identity() is None
        if self.is_new:
            self.study.set_user_attr(IDENTITY, dict(identity))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", self.optuna.exceptions.ExperimentalWarning)
                self.study.set_metric_names(list(directions))
        _refuse_another(self._identity() or {}, identity, name)

    def _own_new_trials(self, storage: Any) -> None:
        """Let new trials have this process as owner from their start, so that none is left without one by a kill."""
        create = storage.create_new_trial

        def create_owned(study_id: int, template_trial: Any = None) -> int:
            if template_trial is None:
                running = self.optuna.trial.TrialState.RUNNING
                template_trial = self.optuna.trial.create_trial(state=running, user_attrs={OWNER: this_process()})
            number: int = create(study_id, template_trial)
            return number

        storage.create_new_trial = create_owned

    def _identity(self) -> Mapping[str, Any] | None:
        known: Mapping[str, Any] | None = self.study.user_attrs.get(IDENTITY)
        return known

    def begin_with(self, values: Mapping[str, object]) -> None:
        """Let the first trial have these values; the engine chooses the others. Without any, the engine chooses all."""
        if values:
            self.study.enqueue_trial(dict(values), user_attrs={REPEATS: WRITTEN})

    def rows(self) -> list[TrialRow]:
        """Its trials, each once: those that were repeated or dropped are left out."""
        again = self.repeated.results()
        rows = (self._row(trial) for trial in Census(self._trials()).counted)
        return [replace(row, result=again.get(row.number, row.result)) for row in rows]

    def states(self) -> Counter[TrialState]:
        """How many of its trials are in each state."""
        return Counter(self._state(trial) for trial in Census(self._trials()).counted)

    def next_trial(self, most: int) -> Any:
        """A trial to run, or None when `most` trials are settled, run or wait."""
        known = self.repeat_abandoned().counted
        if len(known) >= most and not any(self._state(trial) == "waiting" for trial in known):
            return None
        trial = self.study.ask()
        if OWNER not in trial.user_attrs:
            trial.set_user_attr(OWNER, this_process())
        counted = [other.number for other in Census(self._trials()).counted]
        repeats = REPEATS in trial.user_attrs or PROMOTES in trial.user_attrs
        if trial.number in counted and (repeats or counted.index(trial.number) < most):
            return trial
        self._end(trial, DROPPED)  # two workers repeated one trial, or began the last one, at once, and this one was later
        return self.next_trial(most)

    def repeat_abandoned(self) -> Census:
        """Fail the trials whose worker ended, and add the trials that repeat them; what counts then."""
        running = self.optuna.trial.TrialState.RUNNING
        for trial in self._trials():
            attributes = trial.user_attrs
            if trial.state == running and (attributes.get(INTERRUPTED) or self.watch.is_dead(trial.number, attributes)):
                self._end(self.optuna.trial.Trial(self.study, trial._trial_id), ABANDONED)
        census = Census(self._trials())
        repeated = False
        for root, deaths in census.orphans.items():
            if sum(INTERRUPTED not in death.user_attrs for death in deaths) < MOST_DEATHS:
                kept = {name: deaths[-1].user_attrs[name] for name in (RUNG, PROMOTES) if name in deaths[-1].user_attrs}
                self.study.enqueue_trial(dict(deaths[-1].params), user_attrs={REPEATS: root, **kept})
                repeated = True
        return Census(self._trials()) if repeated else census

    def promote(self, settings: SearchSettings, most: int) -> None:
        """Let the best trials of each amount of training go on with the next one, while the study may have more trials."""
        counted = Census(self._trials()).counted
        name, higher = next(iter(self.directions.items()))
        gone_on = {trial.user_attrs[PROMOTES] for trial in counted if PROMOTES in trial.user_attrs}
        for rung in reversed(range(settings.rungs - 1)):
            rows = [row for row in map(self._row, counted) if row.rung == rung and row.state == "finished" and row.result]
            costs = {row.number: cost(row, name, higher) + (0.0 if row.is_feasible else FAR) for row in rows}
            number = to_promote(costs, gone_on, reduction=settings.reduction)
            if number is not None and len(counted) < most:
                parent = next(trial for trial in counted if trial.number == number)
                self.study.enqueue_trial(dict(parent.params), user_attrs={RUNG: rung + 1, PROMOTES: number})
                return

    def _end(self, trial: Any, why: str) -> None:
        """End a trial that is not settled; another worker may have done it."""
        with suppress(self.optuna.exceptions.UpdateFinishedTrialError, ValueError):
            trial.set_user_attr(why, True)
            self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)

    def _state(self, trial: Any) -> TrialState:
        state: TrialState = _STATES[trial.state.name]
        return state

    def _row(self, trial: Any) -> TrialRow:
        if (row := self._settled.get(trial.number)) is not None:
            return row
        attributes = trial.user_attrs
        stored = attributes.get(RESULT)
        reason = str(attributes.get(REASON, ""))
        if ABANDONED in attributes:
            reason = gettext("its worker ended {count} times", count=MOST_DEATHS)
        row = TrialRow(
            number=trial.number,
            state=self._state(trial),
            parameters=dict(trial.params),
            result=TrialResult.model_validate(stored) if stored else None,
            reason=reason,
            wall_s=trial.duration.total_seconds() if trial.duration else 0.0,
            host=str((attributes.get(OWNER) or {}).get("host", "")),
            steps={int(step): value for step, value in attributes.get(STEPS, {}).items()},
            rung=int(attributes.get(RUNG, 0)),
        )
        if trial.state.is_finished() and ABANDONED not in attributes:
            self._settled[trial.number] = row
        return row

    def _trials(self) -> list[Any]:
        trials: list[Any] = self.study.get_trials(deepcopy=False)
        return trials


def _family(attributes: Mapping[str, Any], number: int) -> int:
    """What equal trials have in common: the number of the first of them; of one that goes on from trial n, −1 − n."""
    if REPEATS in attributes:
        return int(attributes[REPEATS])
    return -1 - int(attributes[PROMOTES]) if PROMOTES in attributes else number


class Census:
    """Which trials of a study count.

    Args:
        trials: All trials, in the order of their numbers.

    Attributes:
        counted: The trials, each once: of an abandoned trial and those that repeat it, the first that is not abandoned.
        orphans: Trials that were abandoned and that none repeats, by their family.
    """

    def __init__(self, trials: Sequence[Any]) -> None:
        families: dict[int, list[Any]] = {}
        for trial in trials:
            if DROPPED not in trial.user_attrs:
                families.setdefault(_family(trial.user_attrs, trial.number), []).append(trial)
        self.counted: list[Any] = []
        self.orphans: dict[int, list[Any]] = {}
        for root, family in families.items():
            alive = next((trial for trial in family if ABANDONED not in trial.user_attrs), None)
            self.counted.append(alive or family[-1])
            if alive is None:
                self.orphans[root] = family


def no_study(name: str, storage: str) -> StoreError:
    """The error of a study that is not there."""
    where = f" ({storage})" if storage else ""
    return StoreError(gettext("there is no study {name!r} yet{where}; run compress search without --best first", name=name,
                              where=where))  # fmt: skip


def _refuse_another(known: Mapping[str, Any], wanted: Mapping[str, Any], name: str) -> None:
    """Refuse a study of another recipe, space or objective."""
    different = sorted(_differences(known, json.loads(json.dumps(wanted)), ""))
    if different:
        msg = gettext(
            "the storage has a study {name!r} with another {keys}; choose another name, as with --set name=…, or another "
            "--storage",
            name=name,
            keys=", ".join(different[:5]),
        )
        raise StoreError(msg)


def _differences(one: Any, other: Any, path: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = {*one, *other}
        return [found for key in keys for found in _differences(one.get(key), other.get(key), f"{path}.{key}".strip("."))]
    return [] if one == other else [path]
