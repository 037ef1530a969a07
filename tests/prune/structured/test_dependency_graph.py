import copy

import pytest
import torch
import torchvision
from torch import nn

from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.tolerant_graph import build_graph
from tests.prune.structured.test_channels import prune_channels


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "densenet121", "regnet_y_400mf", "googlenet"])
def test_removing_channels_is_setting_them_to_zero(name, large):
    extra = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, num_classes=4, **extra).eval().double()
    for part in net.modules():  # statistics as after training, so that a channel in the wrong place shows
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.normal_(part.bias, std=0.1)
            nn.init.uniform_(part.weight, 0.5, 1.5)
    graph = build_graph(net, large)
    result = [group for group in groups.find_groups(graph, net) if not group.fixed_reason and group.width > group.repeats][::4]
    assert len(result) > 2
    picks = {g.root: [place + part * (g.width // g.repeats) for part in range(g.repeats) for place in (1,)] for g in result}
    small = copy.deepcopy(net)
    groups.remove_channels(small, build_graph(small, large), picks)
    for group in result:
        for dep, _ in group.tp_group:
            part = dep.target.module
            if dep.target.type in (0, 1, 2, 4) and graph.is_out_channel_pruning_fn(dep.handler):
                _mute(part, groups.channels_of(graph, net.get_submodule(group.root), picks[group.root]), dep)
    x = torch.randn(2, *large.shape, dtype=torch.float64)
    torch.testing.assert_close(small(x), net(x), rtol=1e-8, atol=1e-10)


def _mute(part, group, expected):
    indices = next(indices for dep, indices in group if dep.target is expected.target and dep.handler == expected.handler)
    with torch.no_grad():
        part.weight[indices] = 0
        if part.bias is not None:
            part.bias[indices] = 0


def test_a_layer_that_cannot_be_followed_is_left_alone_with_the_reason(residual, spec, monkeypatch):
    original = groups.channels_of

    def failing(graph, layer, channels):
        if layer.in_channels == 64:
            raise ZeroDivisionError("integer division by zero")
        return original(graph, layer, channels)

    monkeypatch.setattr(groups, "channels_of", failing)
    result = {group.root: group.fixed_reason for group in groups.find_groups(build_graph(residual, spec), residual)}
    assert result["project.0"].code == "prune.not_followed"
    assert result["project.0"].values["error"] == "ZeroDivisionError: integer division by zero"


def test_channels_that_pass_a_shuffle_are_left_alone_with_the_reason(spec):
    class Shuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.mixed = nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 1)
            self.after, self.head = nn.Conv2d(32, 32, 1), nn.Linear(32, 4)

        def forward(self, x):
            x = self.mixed(self.inner(x).relu())
            x = x.view(-1, 2, 16, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
            return self.head(self.after(x).relu().mean((2, 3)))

    torch.manual_seed(0)
    pruner, cut = prune_channels(Shuffled().eval(), spec, 0.5)
    assert {fact.subject for fact in pruner.skipped} == {"mixed", "head"}
    assert cut.module.mixed.out_channels == 32
    assert cut.module.inner.out_channels < 32
