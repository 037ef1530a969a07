import copy

import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.core.sentences import render
from compress.prune.base import Constraints
from compress.prune.criteria import random as random_scores
from compress.prune.structured import dependency_graph as graphs
from compress.prune.structured import equivalence
from compress.prune.structured.channels import ChannelPruner
from compress.prune.structured.equivalence import unprunable
from compress.prune.structured.tolerant_graph import build_graph
from tests.prune.structured.random_networks import network, numbered, without_readers


def _pruner(net, spec, **limits):
    return ChannelPruner(net, spec, measure="macs", ranking="local", limits=Constraints(round_to=1, **limits))


def _check(net, spec):
    """Removed channels are channels that nothing reads, or the network is refused with a reason."""
    try:
        pruner = _pruner(net, spec)
    except ModelError as error:
        if "can be pruned" in str(error):
            return None
        raise
    small = pruner.prune(net, 0.7, random_scores(1)).module
    reference = without_readers(net, pruner.prune(numbered(net), 0.7, random_scores(1)).module)
    x = torch.randn(3, *spec.shape)
    with torch.no_grad():
        torch.testing.assert_close(small(x), reference(x), rtol=1e-4, atol=1e-4)
    return pruner


@pytest.mark.parametrize("seed", range(24))
def test_removing_channels_is_reading_them_nowhere(seed, spec):
    _check(network(seed), spec)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 1200, 20))
def test_removing_channels_is_reading_them_nowhere_in_many_networks(start, spec):
    for seed in range(start, start + 20):
        _check(network(seed), spec)


class ShuffleThenNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.mixed, self.after, self.last = nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 1)
        self.norm, self.head = nn.GroupNorm(4, 32), nn.Linear(32, 4)

    def forward(self, x):
        x = self.mixed(x).relu().unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)
        return self.head(self.norm(self.last(self.after(x).relu())).relu().mean((2, 3)))


def test_a_group_norm_elsewhere_hides_no_shuffle(spec):
    net = ShuffleThenNorm().eval()
    with torch.no_grad():  # zeros would hide a channel in the wrong place
        net.head.weight.zero_()
    pruner = _check(net, spec)
    reasons = {fact.subject: fact.code for fact in pruner.skipped}
    assert reasons == {"mixed": "prune.fails_when_smaller", "head": "prune.output_layer"}


class SinglePrecision(nn.Module):
    """Multiplies by a constant that is no buffer, so that it does not run in float64."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 16, 3), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)) @ torch.eye(16, dtype=torch.float32))


def test_a_network_that_does_not_run_in_double_precision_is_refused_with_the_reason(spec):
    with pytest.raises(ModelError, match=r"the network does not run in double precision: RuntimeError"):
        _pruner(SinglePrecision().eval(), spec)


def test_trials_start_from_one_copy_with_random_weights(spec, monkeypatch):
    copies = []
    real = equivalence._trial_copy
    monkeypatch.setattr(equivalence, "_trial_copy", lambda *arguments, **more: copies.append(1) or real(*arguments, **more))
    picks = {"mixed": range(8), "after": range(8), "last": range(8)}
    assert set(equivalence.unprunable(ShuffleThenNorm().eval(), spec, picks)) >= {"mixed"}
    assert copies == [1]


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.Softplus, nn.Hardsigmoid])
def test_activations_that_are_not_zero_at_zero_are_no_obstacle(activation, spec):
    body = [nn.Conv2d(3, 16, 3), activation(), nn.Conv2d(16, 16, 3), activation()]
    net = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)).eval()
    assert _check(net, spec).prunable == {"0", "2"}


def test_a_map_of_one_channel_is_not_coupled_to_what_it_multiplies(spec):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.mask, self.head = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 1, 3, padding=1), nn.Linear(16, 4)

        def forward(self, x):
            x = self.a(x).relu()
            return self.head((x * self.mask(x).sigmoid()).mean((2, 3)))

    pruner = _check(Masked().eval(), spec)
    assert pruner.prunable == {"a"}
    assert {fact.subject for fact in pruner.skipped} == {"mask", "head"}


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_layers_before_a_recurrence_are_pruned_or_left_with_a_reason(kind, spec):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.more, self.rnn = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), kind(16, 16, batch_first=True)
            self.head = nn.Linear(16, 4)

        def forward(self, x):
            x = self.more(self.conv(x).relu()).relu().mean(2)[:, :, :3]
            return self.head(self.rnn(x.transpose(1, 2))[0][:, -1])

    pruner = _check(Recurrent().eval(), spec)
    assert "conv" in pruner.prunable
    assert {"more", "head"} - pruner.prunable <= {fact.subject for fact in pruner.skipped}


def test_layers_with_shared_weights_keep_their_width(spec):
    layers = [nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)]
    layers[2].weight = layers[1].weight
    net = nn.Sequential(nn.Conv2d(3, 8, 1), *layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    pruner = _check(net, spec)
    assert pruner.prunable == {"0"}
    assert [render(fact) for fact in pruner.skipped if fact.subject == "2"] == ["the weights of 2 are shared with 3"]


def test_a_channel_without_effect_is_not_shown_to_be_removable(spec):
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused, self.reads = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            return self.head((self.used(x).relu() + 0 * self.reads(self.unused(x))).mean((2, 3)))

    pruner = _check(Unused().eval(), spec)
    assert {fact.subject: fact.code for fact in pruner.skipped}["unused"] == "prune.effect_not_seen"


def test_parts_of_a_concatenation_before_a_grouped_convolution_are_tried_apart(spec):
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
            self.grouped, self.head = nn.Conv2d(8, 16, 1, groups=2), nn.Linear(16, 4)

        def forward(self, x):
            return self.head(self.grouped(torch.cat([self.a(x), self.b(x)], 1).relu()).mean((2, 3)))

    pruner = _check(Parts().eval(), spec)
    assert pruner.prunable.isdisjoint({"a", "b"})


def test_the_trial_ends_at_its_time_limit(residual, spec):
    late = graphs.Watchdog(seconds=-1.0)
    with pytest.raises(ModelError, match=r"not complete after .* granularity: weight"):
        graphs.find_groups(build_graph(residual, spec), residual, late)
    with pytest.raises(ModelError, match="not complete"):
        unprunable(residual, spec, {"stem.0": [0]}, watchdog=late)


def test_the_network_is_left_as_it_was(residual, spec):
    residual.stem[0].weight.requires_grad_(False)
    before = copy.deepcopy(residual.state_dict())
    flags = [p.requires_grad for p in residual.parameters()]
    _pruner(residual, spec).prune(residual, 0.7, random_scores(0))
    assert all(torch.equal(value, before[name]) for name, value in residual.state_dict().items())
    assert [p.requires_grad for p in residual.parameters()] == flags
