import copy
from fnmatch import fnmatch

import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.sentences import render
from compress.models.count_macs import count_network
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude, random
from compress.prune.structured.channels import ChannelPruner
from tests.prune.structured.networks import build_network


def _convolutions(net):
    return [(name, part) for name, part in net.named_modules() if isinstance(part, nn.Conv2d)]


def prune_channels(net, spec, fraction=0.5, measure="macs", ranking="global", importance=None, **limits):
    pruner = ChannelPruner(net, spec, measure=measure, ranking=ranking, limits=Constraints(**limits))
    return pruner, pruner.prune(net, fraction, importance or magnitude())


@pytest.mark.parametrize(("name", "fraction"), [("resnet18", 0.5), ("mobilenet_v2", 0.5), ("vit", 0.7)])
def test_the_promised_macs_are_met_and_hardly_undercut(name, fraction, large):
    net = build_network(name)
    before = copy.deepcopy(net.state_dict())
    _, cut = prune_channels(net, large, fraction)
    ratio = count_network(cut.module, large).macs / count_network(net, large).macs
    assert fraction - 0.02 <= ratio <= fraction  # a block of 8 channels in the first stage is up to 1.6 % of resnet18
    assert cut.notes == ()
    assert cut.module(torch.zeros(3, *large.shape)).shape == (3, 4)
    assert not cut.module.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("ranking", ["global", "local"])
def test_the_promised_parameters_are_met(residual, spec, ranking):
    _, cut = prune_channels(residual, spec, 0.6, "params", ranking)
    ratio = count_network(cut.module, spec).parameters / count_network(residual, spec).parameters
    assert 0.6 - 0.15 <= ratio <= 0.6  # a block of 8 channels is an eighth of this network


def test_local_ranking_takes_the_same_fraction_of_each_layer(large):
    net = build_network("resnet18")
    _, cut = prune_channels(net, large, 0.4, ranking="local")
    small = dict(cut.module.named_modules())
    ratios = [small[name].out_channels / part.out_channels for name, part in net.named_modules() if isinstance(part, nn.Conv2d)]
    assert max(ratios) - min(ratios) <= 8 / 64 + 1e-9


def test_all_widths_of_mobilenet_are_multiples_of_eight(large):
    _, cut = prune_channels(build_network("mobilenet_v2"), large, 0.4)
    assert all(part.out_channels % 8 == 0 for part in cut.module.modules() if isinstance(part, nn.Conv2d))


def test_protected_layers_keep_their_outputs(residual, spec):
    pruner, cut = prune_channels(residual, spec, 0.7, protect=("expand*",))
    small = dict(cut.module.named_modules())
    for name, part in residual.named_modules():
        if fnmatch(name, "expand*") and isinstance(part, nn.Conv2d):
            assert small[name].out_channels == part.out_channels
    assert small["stem.0"].out_channels < 32
    reasons = {fact.subject: fact for fact in pruner.skipped}
    assert reasons["expand.0"].code == "prune.protected"
    assert reasons["depth.0"] == Fact.of("prune.coupled_to_protected", "depth.0", layer="expand.0")
    assert "output layer" in render(reasons["head"])


def test_a_target_below_the_ceilings_is_told_and_the_best_is_kept(residual, spec):
    _, cut = prune_channels(residual, spec, 0.1, max_ratio=0.5)
    ratio = count_network(cut.module, spec).macs / count_network(residual, spec).macs
    assert 0.1 < ratio < 0.5
    assert len(cut.notes) == 1
    assert cut.notes[0].code == "prune.target_not_reached"
    assert cut.notes[0].values["reached"] == pytest.approx(ratio)
    assert "max_ratio 0.5" in render(cut.notes[0])
    assert f"{ratio:.4f}" in render(cut.notes[0])
    small = dict(cut.module.named_modules())
    assert all(small[name].out_channels == part.out_channels // 2 for name, part in _convolutions(residual))


def test_ceilings_by_layer_are_named_where_they_are_what_limits(residual, spec):
    _, cut = prune_channels(residual, spec, 0.1, max_ratio=0.9, ceilings={"stem*": 0.25, "*": 0.5})
    assert "limited by max_ratio 0.25 to 0.5 of the layers that it names (0.9 of other layers), round_to" in render(
        cut.notes[0]
    )
    assert render(cut.notes[0]).endswith("1 layer that cannot be pruned")


def test_cuts_continue_from_each_other_within_the_ceiling_of_the_dense_network(residual, spec):
    pruner, first = prune_channels(residual, spec, 0.7, max_ratio=0.5)
    second = pruner.prune(first.module, 0.05, magnitude()).module
    assert min(part.out_channels for part in second.modules() if isinstance(part, nn.Conv2d)) == 16


def test_protecting_everything_is_refused(residual, spec):
    with pytest.raises(ModelError, match=r"no channel .* can be pruned.*protected"):
        prune_channels(residual, spec, protect=("*",))


def test_a_glob_that_matches_nothing_names_the_nearest(residual, spec):
    with pytest.raises(ModelError, match="did you mean 'expand'"):
        prune_channels(residual, spec, protect=("expnad",))


def test_attention_keeps_its_width_and_the_hidden_width_goes(large):
    pruner, cut = prune_channels(build_network("vit"), large, 0.7)
    assert {int(p.embed_dim) for p in cut.module.modules() if isinstance(p, nn.MultiheadAttention)} == {64}
    assert any("attention" in fact.code for fact in pruner.skipped)
    assert min(block.mlp[0].out_features for block in cut.module.encoder.layers) < 256


def test_random_and_magnitude_choose_differently(residual, spec):
    weights = [prune_channels(residual, spec, 0.5, importance=i)[1].module.head.weight for i in (magnitude(), random(0))]
    assert weights[0].shape != weights[1].shape or not torch.equal(*weights)


def test_a_narrowed_layer_that_was_frozen_stays_frozen(residual, spec):
    residual.stem.requires_grad_(False)
    pruner = ChannelPruner(residual, spec, measure="params", ranking="global", limits=Constraints())
    network = pruner.prune(residual, 0.3, magnitude()).module
    assert network.stem[0].weight.shape[0] < residual.stem[0].weight.shape[0]
    assert {name for name, p in network.named_parameters() if not p.requires_grad} == {
        "stem.0.weight",
        "stem.1.weight",
        "stem.1.bias",
    }


class _Concatenated(nn.Module):
    """A stream with a grouped reader, concatenated with a depthwise convolution of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.grouped = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1, groups=2)
        self.depthwise, self.head = nn.Conv2d(8, 8, 1, groups=8), nn.Linear(16, 4)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x + self.grouped(x)
        return self.head(torch.cat([x, self.depthwise(x)], 1).mean((2, 3)))


def test_a_grouped_reader_loses_equal_numbers_of_each_group_behind_a_concatenation(spec):
    torch.manual_seed(0)
    dense = _Concatenated().eval()
    _, cut = prune_channels(dense, spec, 0.7, "params", round_to=1)
    remaining = torch.isin(dense.stem.bias, cut.module.stem.bias)
    assert remaining[:4].sum() == remaining[4:].sum() < 4
    zeroed = copy.deepcopy(dense)
    with torch.no_grad():
        for layer in (zeroed.stem, zeroed.grouped, zeroed.depthwise):
            layer.weight[~remaining], layer.bias[~remaining] = 0.0, 0.0
        x = torch.randn(2, *spec.shape)
        torch.testing.assert_close(cut.module(x), zeroed(x), atol=1e-5, rtol=1e-5)
