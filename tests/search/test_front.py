from itertools import product

import numpy as np

from compress.search.front import TrialRow, dominates, pareto_front, select
from tests.search.toy_study import DIRECTIONS, row


def test_the_front_is_that_of_the_definition():
    draw = np.random.default_rng(0)
    rows = [row(index, *draw.integers(0, 6, 2) / 6) for index in range(60)]
    expected = [a.number for a in rows if not any(dominates(b, a, DIRECTIONS) for b in rows)]
    assert [a.number for a in pareto_front(rows, DIRECTIONS)] == expected
    for a, b in product(rows, rows):
        assert not (dominates(a, b, DIRECTIONS) and dominates(b, a, DIRECTIONS))


def test_the_first_objective_decides_unless_intervals_reach_the_best_value():
    apart = [row(0, 0.90, 5.0), row(1, 0.88, 1.0)]
    assert select(apart, DIRECTIONS).best is apart[0]
    near = [row(0, 0.90, 5.0, half=0.03), row(1, 0.88, 1.0, half=0.03)]
    chosen = select(near, DIRECTIONS)
    assert chosen.best is near[1]
    assert chosen.runner_up is near[0]


def test_one_objective_is_decided_by_its_value_alone():
    rows = [row(0, 0.88, 1.0, half=0.1), row(1, 0.9, 1.0, half=0.1)]
    assert select(rows, {"accuracy": True}).best is rows[1]


def test_trials_over_the_budget_are_not_chosen_and_the_nearest_miss_is_named():
    rows = [row(0, 0.9, 1.0, size=0.5), row(1, 0.5, 1.0, size=0.1, memory=-1.0), TrialRow(2, "failed", {})]
    missed = select(rows, DIRECTIONS)
    assert (missed.front, missed.best, missed.runner_up) == ((), None, None)
    assert missed.nearest is rows[1]
    met = select([*rows, row(3, 0.1, 9.0, size=-0.2)], DIRECTIONS)
    assert met.best is not None
    assert met.best.number == 3
    assert met.nearest is None


def test_a_study_without_finished_trials_has_no_choice():
    assert select([TrialRow(0, "running", {})], DIRECTIONS).best is None
