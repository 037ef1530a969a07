from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.prune.schedules import cubic, exponential, linear, one_shot

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
    with pytest.raises(ValueError, match="counted from 0"):
        cubic(t, n, s_f=0.5)
