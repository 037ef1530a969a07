"""Loss and rows of detectors of two stages by hand; against torchvision see `tests/models/test_two_stage_detectors.py`."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.tasks.detection import Detection
from compress.tasks.two_stage_outputs import is_two_stage, proposal_rows, two_stage_loss


def outputs() -> dict[str, Tensor]:
    """One image with two anchors, one of them sampled, and two proposals: an object of the second class, and padding."""
    offsets = torch.zeros(1, 2, 12)
    offsets[0, 0, 8:] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    return {
        "objectness": torch.zeros(1, 2),
        "anchor_offsets": torch.zeros(1, 2, 4),
        "anchor_labels": torch.tensor([[1, -1]]),
        "anchor_targets": torch.tensor([[[0.0, 0.0, 0.0, 2.0], [9.0, 9.0, 9.0, 9.0]]]),
        "proposals": torch.zeros(1, 2, 4),
        "proposal_labels": torch.tensor([[2, -1]]),
        "proposal_targets": torch.zeros(1, 2, 4),
        "proposal_logits": torch.zeros(1, 2, 3),
        "proposal_offsets": offsets,
    }


def test_the_loss_by_hand() -> None:
    half = 1 / 18  # of the quadratic part of the loss of the boxes, which is linear from 1/9 on
    expected = math.log(2) + (2 - half) + math.log(3) + (1 - half)
    assert float(two_stage_loss(outputs())) == pytest.approx(expected)
    assert float(Detection().loss(outputs(), {})) == pytest.approx(expected)


def test_rows_leave_padding_out_and_are_those_that_are_shared() -> None:
    logits, classes, images = proposal_rows(outputs(), {})
    assert (logits.shape, classes.tolist(), images.tolist()) == ((1, 3), [2], [0])
    shared = {"shared_logits": torch.ones(1, 3, 3)}
    logits, classes, _ = proposal_rows(shared, {"proposal_labels": torch.tensor([[0, 1, -1]])})
    assert (logits.tolist(), classes.tolist()) == ([[1.0] * 3] * 2, [0, 1])


def test_a_wrapper_for_several_processes_is_seen_through() -> None:
    network = nn.Identity()
    network.takes_targets = True  # type: ignore[assignment]
    wrapper = nn.Module()
    wrapper.module = network
    assert is_two_stage(network)
    assert is_two_stage(wrapper)
    assert not is_two_stage(nn.Identity())


def test_offsets_of_another_number_are_refused() -> None:
    given = (torch.zeros(1, 5, 3), torch.zeros(1, 5, 7), torch.zeros(1, 5, 4))
    with pytest.raises(ModelError, match="4 values, or 4 for each of the 3 classes"):
        Detection().name_outputs(given)
