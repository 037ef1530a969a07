from pathlib import Path
from types import SimpleNamespace

import pytest

from compress.config.search_settings import LatencySettings
from compress.core.record import Quantity
from compress.search import screen_latency
from compress.search.screen_latency import is_before_profile, ratios_of, screen
from tests.search.toy_study import DIRECTIONS, SETTINGS, result, row

NAME = "latency_ms.host"
DEVICE = SimpleNamespace(name="host", runtime="onnxruntime", contract=SimpleNamespace(arrival="back_to_back"))


def with_estimate(one, estimate):
    return type(one)(one.number, one.state, one.parameters, one.result.model_copy(update={"estimated_ms": estimate}))


ROWS = [with_estimate(row(0, 0.9, 2.0), 1.0), with_estimate(row(1, 0.8, 1.0), 0.6), with_estimate(row(2, 0.5, 0.9), 0.4)]
"""Ratios of measurement to estimate: 2, 1.67 and 2.25."""


@pytest.fixture
def screened(monkeypatch):
    """A trial with an accuracy and an estimate, before its profile."""
    monkeypatch.setattr(screen_latency, "screened_device", lambda *_: DEVICE)

    def run(accuracy, estimate, rows=ROWS, **settings):
        def measure(executor, objectives, *, rows):
            return result(accuracy, rows[0].quantities["latency_p50_ms"].value).model_copy(
                update={"objectives": {**result(accuracy, 1.0).objectives, NAME: rows[0].quantities["latency_p50_ms"]}}
            )

        monkeypatch.setattr(screen_latency, "measure_trial", measure)
        executor = SimpleNamespace(plan=SimpleNamespace(base=Path()))
        given = LatencySettings(**({"screen_after": 3} | settings))
        return screen(executor, rows, DIRECTIONS, SETTINGS.objectives, given, (Path("model.onnx"), estimate))

    return run


def test_a_trial_far_behind_the_front_keeps_a_marked_estimate(screened):
    latency = screened(0.7, 2.0).objectives[NAME]
    assert latency.how == "estimated"
    assert latency.value == pytest.approx(2.0 * 2.0)
    assert (latency.low, latency.high) == (pytest.approx(2.0 / 0.6), pytest.approx(2.0 * 2.25))
    assert "cost model × 2.00" in latency.detail


def test_a_trial_that_may_reach_the_front_is_measured(screened):
    assert screened(0.95, 9.0) is None  # the best accuracy
    assert screened(0.7, 0.6) is None  # as fast as trial 1 at the lowest ratio
    assert screened(0.7, 0.62, margin=0.1) is None
    assert screened(0.7, 0.62, margin=0.0) is not None


def test_too_few_measured_trials_screen_nothing(screened):
    assert screened(0.1, 9.0, screen_after=4) is None
    assert screened(0.1, 9.0, screen_after=None) is None


def test_a_trial_over_the_budget_is_no_reason_to_leave_out_another(screened):
    over = [with_estimate(row(number, 0.9, 1.0, size=0.5), 1.0) for number in range(3)]
    assert screened(0.1, 9.0, rows=over) is None


def test_ratios_are_those_of_measured_trials():
    estimate = Quantity.estimated(3.0, "ms", "cost model", band=(1.0, 4.0))
    objectives = {**ROWS[0].result.objectives, NAME: estimate}
    left_out = type(ROWS[0])(3, "finished", {}, ROWS[0].result.model_copy(update={"objectives": objectives}))
    assert ratios_of([*ROWS, left_out, row(4, 0.5, 1.0)], NAME) == pytest.approx([2.0, 1 / 0.6, 2.25])


def test_only_a_profile_at_the_end_is_left_out():
    from compress import Export, Profile

    def executor(*stages, finished):
        outputs = [SimpleNamespace(record=SimpleNamespace(index=index)) for index in range(finished + 1)]
        return SimpleNamespace(plan=SimpleNamespace(stages=stages), outputs=outputs)

    assert is_before_profile(executor(Export(), Profile(), finished=1))
    assert not is_before_profile(executor(Export(), Profile(), finished=0))
    assert not is_before_profile(executor(Profile(), Export(), finished=1))
    assert not is_before_profile(executor(Export(), Profile(), finished=-1))
