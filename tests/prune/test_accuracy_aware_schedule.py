import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.core.sentences import render
from compress.prune.accuracy_aware_schedule import find_cliff, next_ratio


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
    assert [kept for _, kept in tries] == [True, True, False, True, False, False]


@given(cliff=st.floats(0.0, 1.0), s_f=st.floats(0.05, 0.95), n=st.integers(1, 12), retries=st.integers(0, 8))
def test_the_best_kept_is_as_near_to_the_cliff_as_the_retries_allow(cliff, s_f, n, retries):
    tries = _search(cliff, s_f=s_f, n=n, retries=retries)
    best = max((s for s, kept in tries if kept), default=0.0)
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
    assert "removing 0.3000 lost 0.0500 where 0.0100 is allowed" in note
    assert "0.2000 removed was kept where 0.4000 was asked" in note
    assert find_cliff(tries[:1], losses[:1], s_f=0.4, drop=0.01) is None
