import re

import pytest

from compress.core.language import in_language
from compress.search.front import TrialRow, select
from compress.search.importance import parameter_importance
from compress.search.search import SearchResult
from compress.search.study import REASON, RESULT
from compress.search.study_charts import column_positions, draw_parallel
from compress.search.study_page import render_study, sections, write_study
from tests.search.toy_study import DIRECTIONS, open_study, result


@pytest.fixture
def study(tmp_path):
    """Accuracy follows `macs` alone; `lr` does nothing, and every fourth trial has a stage of its own."""
    study = open_study(tmp_path / "journal.log")
    for index in range(24):
        trial = study.next_trial(100)
        macs = trial.suggest_float("stages.prune.target.macs", 0.1, 0.9)
        trial.suggest_float("stages.prune.recover.lr", 0.001, 0.01)
        kind = trial.suggest_categorical("stages.quantize.scheme", ["int8", "fp16"])
        if index % 4 == 0:
            trial.suggest_int("stages.distill.epochs", 1, 8)
        if index == 5:
            trial.set_user_attr(REASON, "OutOfMemoryError: <b>16 GB</b>")
            study.study.tell(trial, state=study.optuna.trial.TrialState.FAIL)
            continue
        measured = result(0.5 + 0.4 * macs, macs * (1 if kind == "int8" else 2), half=0.01, size=macs - 0.8)
        trial.set_user_attr(RESULT, measured.model_dump(mode="json"))
        study.study.tell(trial, [quantity.value for quantity in measured.objectives.values()])
    return study


def result_of(study, folder):
    rows = study.rows()
    chosen = select(rows, DIRECTIONS)
    return SearchResult("toy", tuple(rows), dict(DIRECTIONS), chosen, folder, "name: toy\n")


def test_the_page_has_every_part_and_fetches_nothing(study, tmp_path):
    page, best = write_study(study, result_of(study, tmp_path))
    text = page.read_text(encoding="utf-8")
    for title in ("Choice", "Time and energy", "Front", "Parameters", "Importance for accuracy", "Finished trials",
                  "Trials that failed or were stopped", "Recipe of the choice"):  # fmt: skip
        assert f"<h2>{title}" in text
    assert "OutOfMemoryError: &lt;b&gt;16 GB" in text
    assert text.count("<svg") == 4
    assert not re.search(r"(src|href)=|url\(", text)
    assert best.read_text() == "name: toy\n"


def test_the_page_is_in_the_language_in_use(study, tmp_path):
    with in_language("zh"):
        text = render_study(study, result_of(study, tmp_path))
    assert '<html lang="zh">' in text
    assert "<h2>Choice" not in text


def test_a_study_without_finished_trials_has_a_page(tmp_path):
    empty = open_study(tmp_path / "journal.log")
    parts = sections(empty, result_of(empty, tmp_path))
    assert "No finished trial is within the budget." in parts[0].sentences
    assert not any(part.svg for part in parts)


def test_a_parameter_that_decides_has_the_largest_share(study):
    shares, reason = parameter_importance(study, "accuracy")
    assert reason == ""
    assert next(iter(shares)) == "stages.prune.target.macs"
    assert shares["stages.prune.target.macs"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)
    assert "stages.distill.epochs" not in shares


def test_importance_of_few_trials_is_not_computed(tmp_path):
    shares, reason = parameter_importance(open_study(tmp_path / "journal.log"), "accuracy")
    assert not shares
    assert "needs 8 finished trials" in reason


def test_columns_of_numbers_and_words_have_positions_between_0_and_1():
    assert column_positions([1, 3, None, 2]) == ([0.0, 1.0, None, 0.5], "1", "3")
    assert column_positions(["b", "a", "c"]) == ([0.5, 0.0, 1.0], "a", "c")
    assert column_positions([True, False, None]) == ([1.0, 0.0, None], "False", "True")
    assert column_positions([2, 2])[0] == [0.5, 0.5]


def test_the_line_of_a_trial_is_interrupted_where_it_has_no_value():
    parameters = [{"a": 1, "b": 2, "c": 3}, {"a": 2, "c": 1}]
    measured = [result(0.9, 1.0), result(0.8, 2.0)]
    rows = [TrialRow(number, "finished", parameters[number], result=measured[number]) for number in (0, 1)]
    drawn = draw_parallel(rows, DIRECTIONS, select(rows, DIRECTIONS))
    lines = re.findall(r'<polyline points="([^"]*)"', drawn)
    behind = 1 + len(DIRECTIONS)  # c and the objectives
    assert sorted(len(line.split()) for line in lines) == [behind, 3 + len(DIRECTIONS)]
    assert drawn.count("<circle") == 1
