from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.core.sentences import render
from compress.prune.schedules import cubic, exponential, find_cliff, linear, next_ratio, one_shot

fractions = st.floats(0.01, 0.99)
steps = st.integers(1, 100)


@pytest.mark.parametrize("schedule", [one_shot, linear, cubic, exponential])
@given(s_f=fractions, n=steps)
def test_starts_at_the_start_ends_at_the_end_and_never_falls(schedule, s_f, n):
    s = [schedule(t, n, s_f=s_f) for t in range(n + 1)]
    assert s[0] == pytest.approx(0.0, abs=1e-12)
    assert s[-1] == s_f
    assert all(a <= b + 1e-12 for a, b in pairwise(s))


def test_cubic_gives_the_papers_values():
    assert [cubic(t, 4, s_f=0.8) for t in range(5)] == pytest.approx([0.0, 0.4625, 0.7, 0.7875, 0.8])
    assert cubic(1, 2, s_f=0.9, s_i=0.1) == pytest.approx(0.9 - 0.8 / 8)


def test_linear_takes_equal_steps():
    assert [linear(t, 4, s_f=0.8) for t in range(5)] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])


def test_exponential_takes_the_same_fraction_of_what_is_left():
    left = [1 - exponential(t, 3, s_f=0.9, s_i=0.1) for t in range(4)]
    assert [b / a for a, b in pairwise(left)] == pytest.approx([(0.1 / 0.9) ** (1 / 3)] * 3)


def test_cubic_removes_most_first():
    assert cubic(1, 4, s_f=0.5) > linear(1, 4, s_f=0.5)


@pytest.mark.parametrize(("t", "n"), [(-1, 4), (5, 4), (0, 0)])
def test_a_step_outside_the_schedule_is_refused(t, n):
    with pytest.raises(ValueError, match="is outside the schedule"):
        cubic(t, n, s_f=0.5)


def _search(cliff, *, s_f, n, retries):
    """Everything up to `cliff` may go."""
    tries = []
    while (s := next_ratio(tries, s_f=s_f, n=n, retries=retries)) is not None:
        tries.append((s, s <= cliff))
    return tries


def test_without_a_cliff_the_steps_are_even_and_end_at_the_target():
    assert [s for s, _ in _search(1.0, s_f=0.8, n=4, retries=2)] == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_behind_the_cliff_half_the_way_is_tried():
    tries = _search(0.5, s_f=0.8, n=4, retries=3)
    assert [s for s, _ in tries] == pytest.approx([0.2, 0.4, 0.6, 0.5, 0.55, 0.525])
    assert [remaining for _, remaining in tries] == [True, True, False, True, False, False]


@given(cliff=st.floats(0.0, 1.0), s_f=st.floats(0.05, 0.95), n=st.integers(1, 12), retries=st.integers(0, 8))
def test_the_best_kept_is_as_near_to_the_cliff_as_the_retries_allow(cliff, s_f, n, retries):
    tries = _search(cliff, s_f=s_f, n=n, retries=retries)
    best = max((s for s, remaining in tries if remaining), default=0.0)
    assert len(tries) <= n + retries
    if cliff >= s_f:
        assert best == s_f
    else:
        assert best <= cliff <= best + s_f / n / 2**retries + 1e-9


def test_the_cliff_is_told_with_what_was_kept():
    tries, losses = [(0.2, True), (0.4, False), (0.3, False)], [0.0, 0.3, 0.05]
    fact = find_cliff(tries, losses, s_f=0.4, drop=0.01)
    assert fact is not None
    assert fact.code == "prune.accuracy_cliff"
    assert fact.values == {"removed": 0.3, "lost": 0.05, "allowed": 0.01, "retained": 0.2, "asked": 0.4}
    note = render(fact)
    assert "removing 0.3000 lost 0.0500, more than the allowed 0.0100" in note
    assert "the result has 0.2000 removed, target 0.4000" in note
    assert find_cliff(tries[:1], losses[:1], s_f=0.4, drop=0.01) is None
