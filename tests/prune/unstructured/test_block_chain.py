import pytest
import torch
from torch import nn

from compress.prune.unstructured.block_chain import BlockCall, called_layers, find_chain, next_call


class Stack(nn.Module):
    """Three blocks with a common mask; the second can have another one."""

    def __init__(self, *, own_mask=False, twice=False):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.small = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2))
        self.own_mask, self.twice = own_mask, twice

    def forward(self, x):
        mask, x = torch.ones(4), self.first(x)
        for index, block in enumerate(self.blocks):
            x, _ = block(x, mask=mask * 2 if self.own_mask and index == 1 else mask.clone())
        return self.small(self.blocks[0](x, mask=mask)[0] if self.twice else x)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x, mask):
        return x + self.layer(x) * mask, None


def test_the_stack_with_most_parameters_is_the_chain_and_layers_have_the_order_of_their_calls():
    net = Stack()
    x = torch.ones(2, 4)
    assert find_chain(net, lambda: net(x)) == ("blocks.0", "blocks.1", "blocks.2")
    assert called_layers(net, lambda: net(x)) == [
        "first", *(f"blocks.{index}.layer" for index in range(3)), "small.0", "small.1"
    ]  # fmt: skip


@pytest.mark.parametrize("settings", [{"own_mask": True}, {"twice": True}])
def test_other_arguments_or_a_second_call_break_a_chain(settings):
    net = Stack(**settings)
    assert find_chain(net, lambda: net(torch.ones(2, 4))) == ("small.0", "small.1")


def test_a_network_without_a_stack_has_none():
    net = nn.Linear(4, 4)
    assert find_chain(net, lambda: net(torch.ones(1, 4))) == ()


def test_the_next_call_has_the_first_output_and_the_same_further_arguments():
    call = next_call(BlockCall((1, 2), {"a": 3}), (4, 5))
    assert (call.args, call.kwargs) == ((4, 2), {"a": 3})
    assert next_call(call, 6).args == (6, 2)
