import pytest
import torch
from torch import nn

from compress.data.batch import Batch
from compress.prune.criteria import ScoringData, minitron
from compress.prune.criteria.minitron import activation_norms
from compress.tasks.classification import Classification


class Pooled(nn.Module):
    """A feed-forward layer for tokens, their mean, and classes."""

    def __init__(self):
        super().__init__()
        self.up, self.down, self.head = nn.Linear(3, 5), nn.Linear(5, 3), nn.Linear(3, 2)

    def forward(self, x, attention_mask):  # noqa: ARG002
        return self.head(self.down(self.up(x).relu()).mean(1))


def _batches(mask):
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randn(4, 6, 3, generator=generator) for _ in range(2)]
    return [Batch({"x": x, "attention_mask": mask}, {"target": torch.zeros(4, dtype=torch.int64)}, range(4)) for x in draws]


@pytest.mark.parametrize("padded", [False, True])
def test_mean_over_tokens_then_norm_over_samples_without_padding(padded):
    net, mask = Pooled().eval(), torch.ones(4, 6, dtype=torch.int64)
    if padded:
        mask[1, 4:], mask[3, 1:] = 0, 0
    batches = _batches(mask)
    norms = activation_norms(net, ScoringData(batches, Classification()))
    total = torch.zeros(5)
    for batch in batches:
        for sample, kept in zip(batch.inputs["x"], mask, strict=True):
            with torch.no_grad():
                total += net.up(sample[kept.bool()]).relu().abs().mean(0).square()
    assert torch.allclose(norms["down"], total.sqrt().double(), atol=1e-5)
    assert norms["head"].shape == (3,)


def test_it_scores_channels_and_inputs_and_no_weights():
    importance = minitron()
    with pytest.raises(ValueError, match="call collect first"):
        importance.inputs("down")
    net = Pooled().eval()
    importance.collect(net, ScoringData(_batches(torch.ones(4, 6)), Classification()))
    assert importance.inputs("down").shape == (5,)
    with pytest.raises(TypeError, match="scores channels"):
        importance.weights("down.weight", net.down.weight)
