import numpy as np
import pytest

from compress.search.early_stop import FEWEST, is_stopped, to_promote


def test_the_median_rule_stops_the_worse_half():
    others = [{1: cost} for cost in (1.0, 2.0, 3.0, 4.0, 5.0)]
    assert not is_stopped("median", 3.0, 1, others)
    assert is_stopped("median", 3.1, 1, others)
    assert not is_stopped("median", 9.0, 2, others)
    assert not is_stopped("median", 9.0, 1, others[: FEWEST - 1])


@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_asha_lets_the_best_part_go_on(reduction):
    costs = np.random.default_rng(0).random(60)
    others = [{1: float(cost)} for cost in costs]
    kept = [cost for cost in np.linspace(0, 1, 101) if not is_stopped("asha", cost, 1, others, reduction=reduction)]
    assert max(kept) == pytest.approx(np.quantile(costs, 1 / reduction), abs=0.05)


def test_one_of_so_many_is_promoted_the_best_first():
    costs = {0: 0.5, 1: 0.1, 2: 0.4, 3: 0.3, 4: 0.2, 5: 0.6}
    assert to_promote({0: 0.5, 1: 0.1}, set(), reduction=3) is None
    assert to_promote(costs, set(), reduction=3) == 1
    assert to_promote(costs, {1}, reduction=3) == 4
    assert to_promote(costs, {1, 4}, reduction=3) is None
