import copy

import pytest
import torch
from torch import nn
from torchvision.ops import SqueezeExcitation

from compress.substitute import squeeze_excite as se
from compress.substitute.trace_calls import trace


class Scaled(nn.Module):
    """y = k ⊙ x."""

    def __init__(self, k):
        super().__init__()
        self.k = nn.Parameter(k.reshape(1, -1, 1, 1))

    def forward(self, x):
        return x * self.k


def gate(channels=8):
    network = SqueezeExcitation(channels, 4)
    nn.init.normal_(network.fc2.bias, std=2.0)
    return network.eval()


def _wrapped(part):
    class Wrapped(type(part)):  # another name, which says nothing
        pass

    part.__class__ = Wrapped
    return part


@pytest.mark.parametrize(
    ("part", "is_one"),
    [
        (gate(), True),
        (_wrapped(gate()), True),
        (Scaled(torch.rand(8) + 0.5), False),
        (nn.Conv2d(8, 8, 1), False),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), False),
        (nn.BatchNorm2d(8), False),
        (nn.GroupNorm(2, 8), False),
        (nn.Sequential(nn.Conv2d(8, 8, 1), nn.Hardswish()), False),
        (nn.Linear(8, 8), False),
        (nn.Identity(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_gate_is_told_by_what_it_does(part, is_one):
    assert se.is_gate(part.eval(), 8) is is_one


def test_a_gate_of_the_users_own_is_found_and_what_wraps_it_is_not(mobile):
    flow = trace(mobile, torch.randn(2, 3, 16, 16))
    assert se.find_gates(mobile, flow) == ("block.body.6",)


def test_the_mean_gate_is_the_best_number_for_each_channel():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), gate(), nn.Conv2d(8, 4, 1)).eval()
    batches = [torch.randn(16, 3, 6, 6) for _ in range(3)]
    result = se.mean_gates(net, ["1"], batches)["1"]
    with torch.no_grad():
        x = torch.cat([net[0](batch) for batch in batches]).transpose(0, 1).flatten(1)
        y = torch.cat([net[1](net[0](batch)) for batch in batches]).transpose(0, 1).flatten(1)
    columns = zip(x.double(), y.double(), strict=True)
    exact = torch.stack([torch.linalg.lstsq(a[:, None], b[:, None]).solution[0, 0] for a, b in columns])
    assert torch.allclose(result.k.double(), exact, atol=1e-5)
    assert result.explained == pytest.approx(1 - float(((y - result.k[:, None] * x) ** 2).sum() / (y**2).sum()), abs=1e-4)
    assert result.explained_by_one == pytest.approx(1 - float(((y - x) ** 2).sum() / (y**2).sum()), abs=1e-4)
    assert result.explained > result.explained_by_one


NETS = {
    "into the next convolution": lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), gate(), nn.Conv2d(8, 4, 3)),
    "into a grouped one": lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), gate(), nn.Conv2d(8, 12, 1, groups=4)),
    "into a depthwise one": lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), gate(), nn.Conv2d(8, 16, 3, groups=8)),
    "into the norm before": lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), gate(), nn.ReLU6()),
    "into the convolution before": lambda: nn.Sequential(nn.Conv2d(3, 8, 1), gate(), nn.Hardswish()),
}


@pytest.mark.parametrize("name", NETS)
def test_absorbing_is_the_same_as_multiplying(name):
    torch.manual_seed(0)
    net = NETS[name]().double().eval()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    (place,) = se.find_gates(net, trace(net, x))
    home = se.find_absorb_target(net, trace(net, x), place)
    assert home.layer, home.reasons
    k = torch.rand(8, dtype=torch.float64) + 0.1
    scaled, removed = copy.deepcopy(net), copy.deepcopy(net)
    scaled[int(place)] = Scaled(k)
    se.remove(removed, place, k, home)
    with torch.no_grad():
        assert torch.allclose(scaled(x), removed(x), atol=1e-12)
        assert not torch.allclose(net(x), removed(x), atol=1e-3)
    assert isinstance(removed[int(place)], nn.Identity)


class Standardised(nn.Conv2d):
    def forward(self, x):
        return nn.functional.conv2d(x, self.weight / self.weight.norm(), self.bias)


class Summed(nn.Module):
    """The gate's output goes to two places."""

    def __init__(self):
        super().__init__()
        self.first, self.act, self.gate, self.last = nn.Conv2d(3, 8, 1), nn.ReLU(), gate(), nn.Conv2d(8, 8, 1)

    def forward(self, x):
        y = self.gate(self.act(self.first(x)))
        return y + self.last(y)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), gate(), Standardised(8, 4, 1)), {"substitute.absorbing_layer_weight"}),
        (
            nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), gate(), nn.ReLU(), nn.Conv2d(8, 4, 1)),
            {"substitute.gate_output_no_convolution"},
        ),
        (Summed(), {"substitute.gate_output_shared"}),
    ],
)
def test_a_mean_with_nowhere_to_go_has_a_reason(net, reason):
    flow = trace(net.eval(), torch.randn(2, 3, 8, 8))
    (place,) = se.find_gates(net, flow)
    home = se.find_absorb_target(net, flow, place)
    assert home.layer == ""
    assert reason <= {fact.code for fact in home.reasons}
