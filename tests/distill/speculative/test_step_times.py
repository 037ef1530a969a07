import pytest

from compress.distill.speculative.step_times import StepTimes, measure_steps
from tests.backends.decoder.speculative_pairs import near_copy, sessions


def test_the_best_k_follows_acceptance_and_costs():
    flat = StepTimes(0.1, (1.0, 1.0, 1.0, 1.0, 1.0))
    assert flat.best(0.95) == 4
    assert flat.best(0.05) == 1
    steep = StepTimes(0.1, (1.0, 1.2, 2.4, 3.6, 4.8))
    assert steep.best(0.95) == 1
    assert steep.speedup(0.5, 1) == pytest.approx(1.5 / (0.1 + 1.2))
    rows = flat.rows(0.5)
    assert [row["proposals_per_round"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["expected_speedup"] == rows[0]["expected_speedup_equal_runs"]


def test_runs_of_both_are_timed(language_artifact, tmp_path):
    candidate = language_artifact[1]
    times = measure_steps(*sessions(candidate, near_copy(candidate, 0.1), tmp_path), [5, 9, 11], 3)
    assert len(times.target) == 4
    assert times.draft > 0
    assert min(times.target) > 0
