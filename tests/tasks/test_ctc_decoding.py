"""Texts of CTC outputs: paths are collapsed as the paper defines it."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from compress.tasks.ctc_decoding import BLANK, collapse, greedy_classes, greedy_texts, text_of

NAMES = ("<blank>", " ", "a", "b")


def test_equal_neighbours_are_merged_before_blanks_are_left_out() -> None:
    draw = np.random.default_rng(0)
    for length in range(30):
        path = draw.integers(0, 4, length)
        expected = [key for key, _ in groupby(path.tolist()) if key != BLANK]
        assert collapse(path).tolist() == expected


def test_the_largest_logit_of_each_frame_gives_the_text() -> None:
    path = [2, 2, 0, 2, 3, 3, 1, 1, 0, 3]
    logits = np.eye(4, dtype=np.float32)[path][None]
    assert greedy_texts(logits, NAMES) == ["aab b"]
    assert text_of([2, 3, -100, -100], NAMES) == "ab"


def test_a_frame_that_is_not_finite_is_blank() -> None:
    logits = np.eye(4, dtype=np.float32)[[2, 3, 3]][None]
    logits[0, 1, 0] = np.nan
    assert [each.tolist() for each in greedy_classes(logits)] == [[2, 3]]
