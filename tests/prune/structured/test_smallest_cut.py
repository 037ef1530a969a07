"""The smallest cut that meets a cost, against trying all."""

from __future__ import annotations

import pytest
from torch import nn

from compress.prune.structured.smallest_cut import smallest_cut


@pytest.mark.parametrize("target", [3.0, 5.5, 9.0])
@pytest.mark.parametrize("guess", [0, 1, 6, 10])
def test_it_is_the_first_that_meets_the_target(target: float, guess: int) -> None:
    modules = {count: nn.Linear(1, 12 - count) for count in range(1, 11)}
    cut = smallest_cut(modules.__getitem__, lambda module: float(module.out_features), target, guess=guess, most=10)  # type: ignore[arg-type]
    expected = next(count for count in modules if 12 - count <= target)
    assert (cut.count, cut.reached) == (expected, float(12 - expected))
    assert cut.module is modules[expected]


def test_where_none_meets_it_the_last_tried_is_given() -> None:
    cut = smallest_cut(lambda count: nn.Linear(1, 12 - count), lambda module: float(module.out_features), 1.0, guess=4, most=10)  # type: ignore[arg-type]
    assert (cut.count, cut.reached) == (10, 2.0)
