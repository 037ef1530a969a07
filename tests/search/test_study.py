import subprocess
import sys

import pytest

from compress.config.search_settings import SearchSettings
from compress.core.errors import StoreError
from compress.search.owner import OWNER, this_process
from compress.search.study import INTERRUPTED, MOST_DEATHS, PROMOTES, RESULT, RUNG, Census
from tests.search.toy_study import SETTINGS, open_study, result


def dead_process() -> dict[str, object]:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    return this_process() | {"pid": child.pid}


def begin(study, most=10, owner=None):
    trial = study.next_trial(most)
    if trial is not None:
        trial.suggest_float("x", 0.0, 1.0)
        trial.set_user_attr(OWNER, owner or this_process())
    return trial


def test_two_studies_of_one_name_with_other_spaces_are_refused(tmp_path):
    open_study(tmp_path / "journal.log")
    wider = SearchSettings(space={"stages.prune.target.macs": {"low": 0.1, "high": 0.95}}, objectives=SETTINGS.objectives)
    with pytest.raises(StoreError, match=r"search\.space\.stages\.prune\.target\.macs\.high"):
        open_study(tmp_path / "journal.log", wider)
    more = SETTINGS.model_copy(update={"trials": 99, "engine": "random"})
    assert open_study(tmp_path / "journal.log", more).name == "toy"


def test_a_study_has_no_more_trials_than_asked(tmp_path):
    study = open_study(tmp_path / "journal.log")
    assert [begin(study, 2) is None for _ in range(3)] == [False, False, True]


def test_a_trial_of_a_killed_worker_is_repeated_once_with_its_values(tmp_path):
    study = open_study(tmp_path / "journal.log")
    lost = begin(study, owner=dead_process())
    repeated = begin(study)
    assert repeated.params == lost.params
    assert study.states() == {"running": 1}
    assert begin(study, most=1) is None
    assert [row.number for row in study.rows()] == [repeated.number]


def test_two_workers_that_notice_a_death_at_once_repeat_the_trial_once(tmp_path, monkeypatch):
    one, two = open_study(tmp_path / "journal.log"), open_study(tmp_path / "journal.log")
    begin(one, owner=dead_process())
    one.repeat_abandoned()
    (first,) = [row for row in one.rows() if row.state == "waiting"]
    two.study.enqueue_trial(dict(first.parameters) or {"x": 0.5}, user_attrs={"repeats": 0})
    assert one.states() == {"waiting": 1}
    trials = [begin(study, most=1) for study in (one, two)]
    assert [trial is None for trial in trials] == [False, True]
    assert one.states() == {"running": 1}


def test_two_workers_that_begin_the_last_trial_at_once_run_one(tmp_path, monkeypatch):
    one, two = open_study(tmp_path / "journal.log"), open_study(tmp_path / "journal.log")
    first = begin(one, most=1)
    known = [Census([])]  # what the second worker read before the first one began
    real = two.repeat_abandoned
    monkeypatch.setattr(two, "repeat_abandoned", lambda: known.pop() if known else real())
    assert begin(two, most=1) is None
    assert one.states() == {"running": 1}
    assert first.number == 0
    assert len(one._trials()) == 2


def test_a_trial_that_kills_each_worker_counts_as_failed(tmp_path):
    study = open_study(tmp_path / "journal.log")
    for _ in range(MOST_DEATHS):
        begin(study, most=1, owner=dead_process())
    assert begin(study, most=1) is None
    (row,) = study.rows()
    assert row.state == "failed"
    assert f"its worker ended {MOST_DEATHS} times" in row.reason


def test_interruptions_are_no_deaths(tmp_path):
    study = open_study(tmp_path / "journal.log")
    for _ in range(MOST_DEATHS + 2):
        begin(study, most=1).set_user_attr(INTERRUPTED, True)
    assert begin(study, most=1) is not None


def test_a_late_result_of_a_worker_that_was_taken_for_dead_is_not_counted(tmp_path):
    study = open_study(tmp_path / "journal.log")
    late = begin(study, owner=dead_process())
    begin(study)
    with pytest.raises((ValueError, study.optuna.exceptions.UpdateFinishedTrialError)):
        study.study.tell(late, [0.5, 1.0])
    assert study.states() == {"running": 1}


def test_the_first_trial_has_the_values_of_the_recipe_once(tmp_path):
    one, two = open_study(tmp_path / "journal.log"), open_study(tmp_path / "journal.log")
    assert (one.is_new, two.is_new) == (True, False)
    for study in (one, two):  # as if both had created it
        study.begin_with({"x": 0.25})
    first, second = begin(one, most=2), begin(two, most=2)
    assert first.params == {"x": 0.25}
    assert second.params != {"x": 0.25}
    assert begin(one, most=2) is None
    first.set_user_attr(INTERRUPTED, True)
    assert begin(two, most=2).params == {"x": 0.25}


def finish(study, trial, accuracy, **distances):
    measured = result(accuracy, 1.0, **distances)
    trial.set_user_attr(RESULT, measured.model_dump(mode="json"))
    study.study.tell(trial, [accuracy, 1.0])


def test_the_best_trials_go_on_with_more_training_once(tmp_path):
    settings = SETTINGS.model_copy(update={"fidelity": {"stages.prune.recover.epochs": (1, 3, 9)}})
    one, two = open_study(tmp_path / "journal.log", settings), open_study(tmp_path / "journal.log", settings)
    for accuracy in (0.5, 0.9, 0.7):
        finish(one, begin(one), accuracy)
    one.promote(settings, 10)
    two.promote(settings, 10)  # the storage shows it that trial 1 has gone on
    two.study.enqueue_trial(dict(one.rows()[1].parameters), user_attrs={RUNG: 1, PROMOTES: 1})  # a worker that did not see it
    assert one.states() == {"finished": 3, "waiting": 1}
    best = begin(one)
    assert best.params == one.rows()[1].parameters
    assert (best.user_attrs[RUNG], best.user_attrs[PROMOTES]) == (1, 1)
    finish(one, best, 0.95)
    assert one.rows()[3].rung == 1
    assert begin(one, most=4) is None
    one.promote(settings, 10)
    assert one.states() == {"finished": 4}


def test_a_trial_over_the_budget_goes_on_after_those_within_it(tmp_path):
    settings = SETTINGS.model_copy(update={"fidelity": {"stages.prune.recover.epochs": (1, 3)}})
    study = open_study(tmp_path / "journal.log", settings)
    for accuracy, over in ((0.9, 0.5), (0.6, -0.5), (0.5, -0.5)):
        finish(study, begin(study), accuracy, size=over)
    study.promote(settings, 10)
    assert begin(study).user_attrs[PROMOTES] == 1


def test_a_promoted_trial_keeps_its_training_when_its_worker_is_killed(tmp_path):
    settings = SETTINGS.model_copy(update={"fidelity": {"stages.prune.recover.epochs": (1, 3)}})
    study = open_study(tmp_path / "journal.log", settings)
    for accuracy in (0.5, 0.9, 0.7):
        finish(study, begin(study), accuracy)
    study.promote(settings, 10)
    begin(study, owner=dead_process())
    again = begin(study)
    assert (again.user_attrs[RUNG], again.user_attrs[PROMOTES]) == (1, 1)
    assert study.states() == {"finished": 3, "running": 1}
