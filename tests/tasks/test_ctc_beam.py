"""Prefix-beam search against the sum over all paths of each text."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import numpy as np

from compress.tasks.ctc_beam import beam_classes
from compress.tasks.ctc_decoding import collapse, greedy_classes


def likeliest(log_p: np.ndarray) -> tuple[int, ...]:
    """The text whose paths have the largest probability together, by all paths."""
    totals: dict[tuple[int, ...], float] = defaultdict(float)
    for path in product(range(log_p.shape[1]), repeat=len(log_p)):
        totals[tuple(collapse(np.array(path)).tolist())] += float(np.exp(sum(log_p[t, k] for t, k in enumerate(path))))
    return max(totals, key=lambda text: totals[text])


def test_a_wide_beam_finds_the_likeliest_text() -> None:
    draw = np.random.default_rng(0)
    differ = 0
    for _ in range(60):
        z = draw.normal(0, 1, (5, 3))
        log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
        found = tuple(beam_classes(log_p, 200).tolist())
        assert found == likeliest(log_p)
        differ += found != tuple(greedy_classes(log_p[None])[0].tolist())
    assert differ > 5


def test_equal_characters_need_a_blank_between_them() -> None:
    certain = np.log(np.eye(3)[[1, 1, 0, 1, 2]] * 0.97 + 0.01)
    assert beam_classes(certain, 4).tolist() == [1, 1, 2]
    assert beam_classes(certain[:2], 4).tolist() == [1]


def test_a_blank_certainty_writes_nothing() -> None:
    padding = np.full((4, 3), -1e4)
    padding[:, 0] = 0.0
    assert beam_classes(padding, 4).tolist() == []
