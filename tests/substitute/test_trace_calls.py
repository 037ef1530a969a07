import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compress.core.errors import ModelError
from compress.substitute.trace_calls import trace


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.conv(x)
        return self.conv(self.act(x)) + x


def test_calls_of_modules_and_functions_are_recorded_in_order():
    network = Twice().eval()
    calls = trace(network, torch.randn(1, 3, 4, 4))
    assert [call.module for call in calls.module_calls] == ["conv", "act", "conv"]
    assert (calls.times("conv"), calls.times("act"), calls.times("none")) == (2, 1, 0)
    assert [call.module for call in calls.calls if call.function is F.conv2d] == ["conv", "conv"]
    first = calls.module_calls[0]
    assert calls.producer(first.y, first.last).module == "conv"


def test_consumers_end_with_the_call_that_changes_the_tensor_in_place():
    network = Twice().eval()
    calls = trace(network, torch.randn(1, 3, 4, 4))
    first = calls.module_calls[0]
    assert {call.module for call in calls.consumers(first.y, first.last)} == {"act"}


def test_a_weight_that_goes_through_another_function_is_not_used_as_it_is():
    class Scaled(nn.Conv2d):
        def forward(self, x):
            return F.conv2d(x, self.weight * 2, self.bias)

    network = nn.Sequential(nn.Conv2d(3, 3, 1), Scaled(3, 3, 1)).eval()
    calls = trace(network, torch.randn(1, 3, 4, 4))
    assert calls.uses_weight(network[0])
    assert not calls.uses_weight(network[1])


def test_a_network_that_fails_is_named_with_its_last_module():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(5, 5)).eval()
    with pytest.raises(ModelError, match="last module entered '1'"):
        trace(network, torch.randn(1, 3, 4, 4))
    assert not network[0]._forward_hooks


def test_hooks_and_the_fast_path_are_as_before():
    network = Twice().eval()
    before = torch.backends.mha.get_fastpath_enabled()
    trace(network, torch.randn(1, 3, 4, 4))
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
