import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compress.core.sentences import render
from compress.models import module_replacement as parts
from compress.substitute import activations
from compress.substitute.trace_calls import trace


class ByHand(nn.Module):
    def forward(self, x):
        return x * F.relu6(x + 3) / 6


class Quick(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (nn.Hardswish(), "hardswish"),
        (nn.Hardswish(inplace=True), "hardswish"),
        (ByHand(), "hardswish"),
        (nn.SiLU(), "silu"),
        (nn.GELU(), "gelu"),
        (nn.GELU(approximate="tanh"), "gelu"),
        (Quick(), "gelu"),
        (nn.ReLU(), None),
        (nn.ReLU6(), None),
        (nn.Hardsigmoid(), None),
        (nn.Mish(), None),
        (nn.Identity(), None),
        (nn.Softmax(dim=1), None),
        (nn.PReLU(), None),
        (nn.Conv2d(8, 8, 1), None),
        (nn.MaxPool2d(2), None),
    ],
)
def test_an_activation_is_told_by_its_values(part, kind):
    assert activations.activation_kind(part.eval()) == kind


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
        self.act = F.silu
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)

    def forward(self, x):
        x = self.act(F.hardswish(self.first(x)))
        x = self.second(x)
        x = x * torch.sigmoid(x)
        return self.layer(x.flatten(2).transpose(1, 2)).mean(1)


def test_functions_in_attributes_are_found_and_those_written_into_a_forward_are_told_with_a_reason():
    net = Functional().eval()
    held, written = activations.activation_functions(net, trace(net, torch.randn(2, 3, 4, 4)))
    assert held == {"act": "silu", "layer.activation": "gelu"}
    assert set(written) == {("the network itself", "hardswish"), ("the network itself", "silu")}
    assert written["the network itself", "hardswish"].values["type"] == "Functional"
    assert "inside Functional.forward" in render(written["the network itself", "hardswish"])
    assert "nn.Hardswish()" in render(written["the network itself", "hardswish"])


def test_a_gate_is_no_silu_and_a_module_is_no_function():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SiLU(), nn.Hardswish())
    assert activations.activation_functions(net, trace(net, torch.randn(1, 3, 4, 4))) == ({}, {})
    assert activations.activation_modules(net) == {"1": "silu", "2": "hardswish"}


@pytest.mark.parametrize("to", ["relu", "relu6"])
def test_an_attribute_of_a_transformer_layer_is_replaced_in_its_fused_kernel_as_well(to):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True).eval()
    parts.set_submodule(layer, {"activation": to})
    x = torch.randn(2, 5, 8) * 9
    with torch.no_grad():
        fused = layer(x)
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            plain = layer(x)
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
        hidden = {"relu": F.relu, "relu6": F.relu6}[to]
        y = layer.norm1(x + layer.self_attn(x, x, x, need_weights=False)[0])
        expected = layer.norm2(y + layer.linear2(hidden(layer.linear1(y))))
    assert torch.allclose(fused, expected, atol=1e-5)
    assert torch.allclose(plain, expected, atol=1e-5)


def test_a_module_that_stands_in_two_places_is_replaced_by_one_module_in_both():
    act = nn.Hardswish()
    net = nn.Sequential(nn.Conv2d(3, 4, 1), act, nn.Conv2d(4, 4, 1), act)
    parts.set_submodule(net, dict.fromkeys(activations.activation_modules(net), "relu6"))
    assert isinstance(net[1], nn.ReLU6)
    assert net[1] is net[3]
