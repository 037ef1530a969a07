"""Padding of boxes."""

from __future__ import annotations

import torch

from compress.data.detection_targets import BOXES, CLASSES, NO_OBJECT, pad_objects


def test_objects_are_padded_behind() -> None:
    box = torch.tensor([[1.0, 2, 3, 4]])
    padded = pad_objects([(box, torch.tensor([5])), (box[:0], torch.zeros(0, dtype=torch.int64))], 2)
    assert padded[BOXES].shape == (2, 2, 4)
    assert torch.equal(padded[BOXES][0, 0], box[0])
    assert padded[CLASSES].tolist() == [[5, NO_OBJECT], [NO_OBJECT, NO_OBJECT]]
