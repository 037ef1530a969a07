"""The small detector and its anchors."""

from __future__ import annotations

import pytest
import torch

from compress.models.detectors import SmallDetector, as_rows, grid_anchors


def test_outputs_have_one_row_for_each_anchor() -> None:
    network = SmallDetector(5, (32, 48), channels=1, width=4).eval()
    logits, offsets, anchors = network(torch.randn(2, 1, 32, 48))
    count = (4 * 6 + 2 * 3) * 2
    assert (logits.shape, offsets.shape, anchors.shape) == ((2, count, 5), (2, count, 4), (2, count, 4))
    assert float(logits.detach().sigmoid().mean()) == pytest.approx(0.01, rel=0.5)


def test_anchors_are_centred_on_their_cells() -> None:
    anchors = grid_anchors((2, 2), (16, 32), [(4.0, 2.0)])
    assert anchors.tolist() == [[6.0, 3, 10, 5], [22, 3, 26, 5], [6, 11, 10, 13], [22, 11, 26, 13]]


def test_rows_and_anchors_have_the_same_order() -> None:
    """A map that holds its own cell's number gives rows in the order of the anchors' centres."""
    maps = torch.arange(6.0).reshape(1, 1, 2, 3).repeat(1, 2, 1, 1)
    assert as_rows(maps, 1).flatten().tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    anchors = grid_anchors((2, 3), (20, 30), [(4.0, 4.0), (8.0, 8.0)])
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert (centres[:, 0] // 10 + 3 * (centres[:, 1] // 10)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_sides_must_be_multiples_of_16() -> None:
    with pytest.raises(ValueError, match="multiples of 16 pixels, not 40×32"):
        SmallDetector(2, (40, 32))
