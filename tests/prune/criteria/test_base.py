import pytest
import torch
from torch import nn

from compress.data.batch import Batch
from compress.prune.base import Constraints
from compress.prune.criteria import accumulate_gradients, magnitude, random, taylor
from compress.prune.structured.channels import ChannelPruner


class Plain(nn.Module):
    """One prunable convolution of 8 filters between the input and a fixed-width head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


@pytest.fixture
def plain():
    torch.manual_seed(0)
    return Plain().eval()


def _halve(net, spec, importance):
    pruner = ChannelPruner(net, spec, measure="params", ranking="global", limits=Constraints(round_to=4))
    return pruner.prune(net, 0.6, importance).module


def test_magnitude_removes_the_filters_of_smallest_norm(plain, spec):
    with torch.no_grad():
        plain.head.weight.fill_(0.1)
    norms = plain.conv.weight.detach().numpy().reshape(8, -1)
    strongest = sorted(sorted(range(8), key=lambda c: (norms[c] ** 2).sum())[4:])
    pruned = _halve(plain, spec, magnitude())
    assert torch.equal(pruned.conv.weight, plain.conv.weight[strongest])
    assert torch.equal(pruned.head.weight, plain.head.weight[:, strongest])


def test_taylor_keeps_what_the_loss_depends_on_and_drops_the_dead_however_large(plain, spec, data, task):
    with torch.no_grad():
        plain.conv.weight[:4] = -plain.conv.weight[:4].abs() * 100  # large, and dead: positive inputs, then a ReLU
        plain.conv.weight[4:] = plain.conv.weight[4:].abs() * 0.01
    batches = [Batch.of(batch.input.abs(), batch.target) for batch in data.train.epoch(0, 32, 0)]
    accumulate_gradients(plain, batches, task)
    assert torch.equal(_halve(plain, spec, taylor()).conv.weight, plain.conv.weight[4:])
    assert torch.equal(_halve(plain, spec, magnitude()).conv.weight, plain.conv.weight[:4])


def test_gradients_are_the_mean_over_batches_and_leave_statistics_alone(residual, data, task):
    before = {name: value.clone() for name, value in residual.state_dict().items()}
    batches = list(data.train.ordered(32))
    accumulate_gradients(residual, batches, task)
    loss = sum(task.loss({"logits": residual(b.input)}, b.targets) for b in batches) / 2
    expected = torch.autograd.grad(loss, residual.head.weight)[0]
    torch.testing.assert_close(residual.head.weight.grad, expected)
    assert all(torch.equal(value, before[name]) for name, value in residual.state_dict().items())


def test_taylor_without_gradients_says_what_to_do(plain):
    with pytest.raises(ValueError, match="call collect first"):
        taylor().weights("conv.weight", plain.conv.weight)


def test_random_depends_on_seed_and_name_and_leaves_the_global_generator_alone(plain):
    state = torch.get_rng_state()
    first = random(0).weights("a", plain.conv.weight)
    assert torch.equal(first, random(0).weights("a", plain.conv.weight))
    assert not torch.equal(first, random(1).weights("a", plain.conv.weight))
    assert not torch.equal(first, random(0).weights("b", plain.conv.weight))
    assert torch.equal(state, torch.get_rng_state())
