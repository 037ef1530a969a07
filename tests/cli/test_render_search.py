import io

from rich.console import Console

from compress.cli.render_search import LiveStudy, closing_lines, front_table, show_result, trial_line
from compress.search.front import TrialRow, select
from compress.search.search import SearchResult
from compress.search.study import RESULT
from tests.search.toy_study import DIRECTIONS, open_study, result, row

FAILED = TrialRow(7, "failed", {"stages.prune.target.macs": 0.123456}, reason="OutOfMemoryError: 16 GB")


def result_of(rows, folder):
    return SearchResult("toy", tuple(rows), dict(DIRECTIONS), select(rows, DIRECTIONS), folder)


def test_the_front_is_shown_with_the_choice(tmp_path):
    header, rows = front_table(result_of([row(0, 0.9, 0.5), row(1, 0.8, 0.1), row(2, 0.7, 0.3)], tmp_path))
    assert header[:3] == ["trial", "accuracy", "latency_ms.host"]
    assert [(cells[0], cells[-1]) for cells in rows] == [("0", "choice"), ("1", "runner-up")]
    assert "●" in rows[0][1]


def test_failures_are_counted_by_reason_and_a_miss_names_its_limits(tmp_path):
    rows = [row(0, 0.9, 0.5, size=0.4), FAILED, TrialRow(8, "failed", {}, reason="OutOfMemoryError: 16 GB")]
    lines = closing_lines(result_of(rows, tmp_path))
    assert lines[0] == "1 finished, 2 failed"
    assert "failed: 2: OutOfMemoryError: 16 GB" in lines
    assert "no trial is within the budget; nearest is trial 0" in lines


def test_a_trial_is_one_line():
    assert trial_line(FAILED) == "trial 7: target.macs=0.1235: failed: OutOfMemoryError: 16 GB"
    assert trial_line(row(1, 0.5, 0.1, size=0.1)).endswith("(over the budget)")


def test_without_a_terminal_each_trial_is_printed_once(tmp_path):
    study, text = open_study(tmp_path / "journal.log"), io.StringIO()
    live = LiveStudy(Console(file=text, width=200), lambda study: result_of(study.rows(), tmp_path))
    with live:
        for number in range(3):
            trial = study.next_trial(10)
            trial.suggest_float("x", 0.0, 1.0)
            trial.set_user_attr(RESULT, result(0.5, 0.1).model_dump(mode="json"))
            study.study.tell(trial, [0.5, 0.1])
            live.update(study)
            live.update(study)
            assert text.getvalue().count("trial ") == number + 1


def test_on_a_terminal_the_table_lives(tmp_path):
    study, text = open_study(tmp_path / "journal.log"), io.StringIO()
    live = LiveStudy(Console(file=text, width=120, force_terminal=True), lambda _: result_of([row(0, 0.9, 0.5)], tmp_path))
    with live:
        live.update(study)
        assert "latency_ms.host" in text.getvalue()


def test_a_result_without_trials_is_shown(tmp_path):
    text = io.StringIO()
    show_result(Console(file=text, width=120), result_of([], tmp_path))
    assert "choice" not in text.getvalue()
