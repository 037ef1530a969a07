"""Frames after the end of a clip are certain blanks."""

from __future__ import annotations

import torch

from compress.tasks.audio.padded_frames import blank_padding, is_padding


def test_padding_is_a_certain_blank_and_nothing_else_is_padding() -> None:
    z = torch.randn(2, 4, 5) * 50
    mask = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]])
    padded = blank_padding(z, mask)
    assert torch.equal(padded[mask.bool()], z[mask.bool()])
    assert torch.equal(padded.softmax(2)[1, 2:, 0], torch.ones(2))
    assert torch.equal(is_padding(padded), mask == 0)
