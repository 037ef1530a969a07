"""Selection of boxes: torch against the exported ONNX operators, and against torchvision."""

from __future__ import annotations

import io

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torchvision.ops import nms

from compress.backends.exporter_messages import quiet_exporters
from compress.backends.proposal_operators import TRANSLATIONS, UNUSABLE, nms_mask, top_scores

IOU = 0.6


class Selection(nn.Module):
    def forward(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        best, index = top_scores(scores, 30)
        chosen = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        return best, index, nms_mask(chosen, best, IOU)


def inputs(batch: int) -> tuple[Tensor, Tensor]:
    """Overlapping boxes with many equal scores, some of which take no part."""
    generator = torch.Generator().manual_seed(batch)
    corners = torch.rand(batch, 50, 2, generator=generator) * 40
    boxes = torch.cat([corners, corners + 10 + 20 * torch.rand(batch, 50, 2, generator=generator)], dim=2)
    scores = torch.randint(-6, 6, (batch, 50), generator=generator).float()
    return boxes, torch.where(scores < -3, UNUSABLE, scores)


def test_masks_are_those_of_torchvision_and_unusable_boxes_are_never_selected() -> None:
    boxes, scores = inputs(3)
    mask = nms_mask(boxes, scores, IOU)
    for own, values, chosen in zip(boxes, scores, mask, strict=True):
        usable = (values > UNUSABLE).nonzero().flatten()
        expected = usable[nms(own[usable], values[usable], IOU)]
        assert set(chosen.nonzero().flatten().tolist()) == set(expected.tolist())
        assert 0 < len(expected) < len(usable) < len(values)


def test_of_equal_scores_the_first_comes_first() -> None:
    values, index = top_scores(torch.tensor([[1.0, 3.0, 3.0, 2.0, 3.0]]), 4)
    assert values.tolist() == [[3.0, 3.0, 3.0, 2.0]]
    assert index.tolist() == [[1, 2, 4, 3]]


def test_the_exported_operators_give_the_same_for_any_batch() -> None:
    network, batch = Selection().eval(), torch.export.Dim("batch")
    with quiet_exporters():
        program = torch.onnx.export(
            network,
            inputs(2),
            dynamo=True,
            opset_version=18,
            dynamic_shapes=({0: batch}, {0: batch}),
            custom_translation_table=dict(TRANSLATIONS),
            verbose=False,
        )
    assert program is not None
    buffer = io.BytesIO()
    program.save(buffer)
    session = onnxruntime.InferenceSession(buffer.getvalue())
    names = [entry.name for entry in session.get_inputs()]
    for count in (1, 5):
        given = inputs(count)
        outputs = session.run(None, {name: values.numpy() for name, values in zip(names, given, strict=True)})
        for expected, values in zip(network(*given), outputs, strict=True):
            assert np.array_equal(expected.numpy(), values)
