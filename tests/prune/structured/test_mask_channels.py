"""Masking: the network computes what it computes with the channels set to zero, and norms leave them out."""

import pytest
import torch
from torch import nn

from compress.prune.structured.dependency_graph import channels_of
from compress.prune.structured.mask_channels import mask_channels, read_weights
from compress.prune.structured.tolerant_graph import build_graph

CHANNELS = [1, 4]


def _network(norm: nn.Module) -> nn.Sequential:
    """Three layers; only the second reads the channels of the first."""
    torch.manual_seed(0)
    return (
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), norm, nn.SiLU(), nn.Conv2d(6, 5, 3, groups=1), nn.Flatten(), nn.LazyLinear(4)
        )
        .eval()
        .double()
    )


def _masked_outputs(net, spec, x):
    graph = build_graph(net, spec)
    group = channels_of(graph, net[0], CHANNELS)
    with mask_channels(graph, [group]) as unknown, torch.no_grad():
        return net(x), unknown, group


def test_masked_channels_have_no_effect(spec):
    net = _network(nn.Identity())
    net(torch.zeros(1, *spec.shape, dtype=torch.float64))
    x = torch.randn(2, *spec.shape, dtype=torch.float64)
    masked, unknown, _ = _masked_outputs(net, spec, x)
    with torch.no_grad():
        net[0].weight[CHANNELS] = 100.0
        torch.testing.assert_close(net(x), masked)  # the readers stay masked
    assert unknown == []


def test_only_the_weights_that_read_the_channels_are_read(spec):
    net = _network(nn.Identity())
    net(torch.zeros(1, *spec.shape, dtype=torch.float64))
    graph = build_graph(net, spec)
    ((weight, mask),) = read_weights(graph, channels_of(graph, net[0], CHANNELS))
    assert weight is net[3].weight
    assert mask.any(dim=(0, 2, 3)).nonzero().flatten().tolist() == CHANNELS
    assert mask[:, CHANNELS].all()


def test_a_group_norm_averages_over_the_other_channels(spec):
    norm = nn.GroupNorm(1, 6)
    net = _network(norm)
    net(torch.zeros(1, *spec.shape, dtype=torch.float64))
    x = torch.randn(2, *spec.shape, dtype=torch.float64)
    rest = [channel for channel in range(6) if channel not in CHANNELS]
    with torch.no_grad():
        hidden = net[0](x)[:, rest]
        expected = net[5](
            net[4](nn.functional.conv2d(net[2](nn.functional.group_norm(hidden, 1)), net[3].weight[:, rest], net[3].bias))
        )
    masked, unknown, _ = _masked_outputs(net, spec, x)
    torch.testing.assert_close(masked, expected)
    assert unknown == []
    assert "forward" not in norm.__dict__


@pytest.mark.parametrize("groups", [1, 2])
def test_readers_of_a_grouped_convolution_are_those_of_the_group(groups, spec):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 1, groups=groups), nn.Flatten(), nn.LazyLinear(4)).eval().double()
    net(torch.zeros(1, *spec.shape, dtype=torch.float64))
    graph = build_graph(net, spec)
    masks = [mask for weight, mask in read_weights(graph, channels_of(graph, net[0], CHANNELS)) if weight is net[1].weight]
    (mask,) = masks
    dense = torch.zeros(4, 6, dtype=torch.bool)  # rows: outputs, columns: the channel that each weight reads
    for row in range(4):
        first = row // (4 // groups) * (6 // groups)
        dense[row, first : first + 6 // groups] = mask[row, :, 0, 0]
    assert dense[:, CHANNELS].any(dim=0).all()
    assert not dense[:, [channel for channel in range(6) if channel not in CHANNELS]].any()
