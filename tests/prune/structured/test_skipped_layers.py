import torch
from torch import nn

from compress.core.fact import Fact
from compress.core.sentences import render
from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.skipped_layers import explain_normalisation, skipped_layers
from compress.prune.structured.tolerant_graph import build_graph


class OwnNorm(nn.Module):
    """Layer normalisation as code of the network's own."""

    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return self.weight * (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-5).sqrt() + self.bias


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 16), OwnNorm(16), nn.Linear(16, 4)).eval()


def test_a_normalisation_of_its_own_is_the_reason(spec):
    net = _network()
    found = groups.find_groups(build_graph(net, spec), net)
    reasons = {group.root: Fact.of("prune.not_equivalent") if group.width == 16 else None for group in found}
    explained = explain_normalisation(net, found, reasons)
    assert [fact.code for fact in explained.values()] == ["prune.own_normalisation"]
    assert "OwnNorm" in render(explained["2"])
    assert explain_normalisation(net, found, dict.fromkeys(reasons)) == {}


def test_every_layer_that_stays_has_a_reason(spec):
    net = _network()
    found = groups.find_groups(build_graph(net, spec), net)
    reasons = {group.root: group.fixed_reason for group in found}
    assert {fact.subject: fact.code for fact in skipped_layers(net, found, reasons, frozenset())} == {"4": "prune.output_layer"}
    kept = skipped_layers(net, found, {**reasons, "2": Fact.of("prune.not_followed")}, frozenset({"2"}))
    assert {fact.subject: fact.code for fact in kept}["2"] == "prune.protected"
