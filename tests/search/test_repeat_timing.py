"""Trials of the front are timed again where their intervals overlap; the whole search also has the cost model first."""

import pytest

from compress import Search
from compress.core.record import Quantity
from compress.search.repeat_timing import overlapping
from tests.search.small_search import RECIPE, write_recipe
from tests.search.toy_study import row

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


@pytest.mark.slow
def test_a_search_estimates_first_and_repeats_the_timing_of_its_front(tmp_path):
    text = RECIPE.replace("[accuracy, macs]", "[accuracy, {latency_ms: host}]").replace("trials: 3", "trials: 6")
    text = text.replace("  - profile", "  - export: {formats: [onnx]}\n  - profile")
    path = write_recipe(tmp_path, text + "  latency: {screen_after: 3, margin: 0.0, repeats: 2}\n")
    search = Search(path, trust_code=True)
    result = search.run(out=tmp_path / "reports", device="cpu")
    assert [row.state for row in result.rows] == ["finished"] * 6
    assert all(row.result.estimated_ms > 0 for row in result.rows)
    assert {row.result.objectives[NAME].how for row in result.rows[:3]} == {"measured"}
    study = search.open(tmp_path / "reports")
    for one in overlapping(result.selection.front, NAME):
        assert study.repeated.sessions(one.number) == 2
