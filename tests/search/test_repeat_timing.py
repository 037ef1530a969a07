"""Trials of the front are timed again where their intervals overlap; the whole search also has the cost model first."""

import pytest

from compress import Search
from compress.config.search_settings import LatencySettings
from compress.core.errors import DeviceError
from compress.core.record import Quantity
from compress.search import repeat_timing
from compress.search.repeat_timing import overlapping, repeat_overlapping
from compress.search.study import RESULT
from tests.search.small_search import RECIPE, write_recipe
from tests.search.test_study import begin
from tests.search.toy_study import SETTINGS, open_study, quantity, row, source

NAME = "latency_ms.host"


def timed(number, low, high, how="measured"):
    one = row(number, 0.9, (low + high) / 2)
    latency = Quantity(value=(low + high) / 2, unit="ms", how=how, low=low, high=high)
    objectives = {**one.result.objectives, NAME: latency}
    return type(one)(number, "finished", {}, one.result.model_copy(update={"objectives": objectives}))


def test_only_measured_intervals_that_overlap_are_found():
    rows = [timed(0, 1.0, 1.2), timed(1, 1.1, 1.4), timed(2, 2.0, 2.1), timed(3, 1.0, 3.0, "estimated")]
    assert [one.number for one in overlapping(rows, NAME)] == [0, 1]
    assert overlapping([row(0, 0.9, 1.0), row(1, 0.8, 1.0)], NAME) == ()  # without intervals


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def repeat(tmp_path, monkeypatch):
    """A study with two trials of equal latency and overlapping intervals, and a way to time them again."""
    settings = SETTINGS.model_copy(update={"latency": LatencySettings(repeats=3)})
    study = open_study(tmp_path / "journal.log", settings)
    for accuracy in (0.9, 0.8):
        trial = begin(study)
        measured = timed(trial.number, *((0.9, 1.1) if accuracy == 0.9 else (0.89, 1.09))).result.model_copy(
            update={"wall_s": accuracy}
        )
        trial.set_user_attr(RESULT, with_accuracy(measured, accuracy).model_dump(mode="json"))
        study.study.tell(trial, [accuracy, 1.0])
    lines = Lines()

    def run(*sessions):
        found = iter(sessions)

        def time_in_turns(rows, *_):
            if isinstance(sessions[0], DeviceError):
                raise sessions[0]
            return {row.number: with_accuracy(next(found), row.result.wall_s) for row in rows}

        monkeypatch.setattr(repeat_timing, "_time_in_turns", time_in_turns)
        return repeat_overlapping(study, source(settings), tmp_path, "study", reporter=lines), study, lines.lines

    return run


def with_accuracy(result, accuracy):
    return result.model_copy(update={"objectives": {**result.objectives, "accuracy": quantity(accuracy)}})


def test_timing_is_repeated_until_intervals_are_apart(repeat):
    first, second, slow, fast = (timed(0, *ends).result for ends in ((0.95, 1.05), (0.94, 1.04), (0.9, 1.0), (0.7, 0.8)))
    sessions, study, _ = repeat(first, second, slow, fast)
    assert sessions == 2
    assert [row.result.objectives[NAME].value for row in study.rows()] == [0.95, 0.75]
    assert [study.repeated.sessions(number) for number in (0, 1)] == [2, 2]


def test_timing_is_repeated_at_most_as_often_as_asked(repeat):
    first, second = timed(0, 0.95, 1.05).result, timed(0, 0.94, 1.04).result
    sessions, study, _ = repeat(*[first, second] * 3)
    assert sessions == 3
    assert repeat(first, second)[0] == 0
    assert study.repeated.sessions(1) == 3


def test_a_timing_that_fails_is_reported_and_the_first_one_stays(repeat):
    sessions, study, lines = repeat(DeviceError("not enough memory"))
    assert sessions == 0
    assert lines == ["the front was not timed again: not enough memory"]
    assert [row.result.objectives[NAME].value for row in study.rows()] == [1.0, 0.99]


@pytest.mark.slow
def test_a_search_estimates_first_and_repeats_the_timing_of_its_front(tmp_path):
    text = RECIPE.replace("[accuracy, macs]", "[accuracy, {latency_ms: host}]").replace("trials: 3", "trials: 4")
    path = write_recipe(tmp_path, text + "  latency: {screen_after: 3, margin: 0.0, repeats: 2}\n")
    search = Search(path, trust_code=True)
    result = search.run(out=tmp_path / "reports", device="cpu")
    assert [row.state for row in result.rows] == ["finished"] * 4
    assert all(row.result.estimated_ms > 0 for row in result.rows)
    assert {row.result.objectives[NAME].how for row in result.rows[:3]} == {"measured"}
    study = search.open(tmp_path / "reports")
    for one in overlapping(result.selection.front, NAME):
        assert study.repeated.sessions(one.number) == 2
