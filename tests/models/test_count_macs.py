from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from compress.core.network_spec import NetworkSpec
from compress.models.count_macs import count_network, count_own_macs
from tests.prune.structured.text_networks import FEED_FORWARD, HIDDEN, LAYERS, LENGTH, make_text_network

MakeSpec = Callable[..., NetworkSpec]


def test_counts_of_small_networks_equal_those_by_hand(make_spec: MakeSpec) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )
    found = count_network(module, make_spec(size=16))
    assert found.parameters == (3 * 8 * 9 + 8) + 2 * 8 + (80 + 10)
    assert found.macs == 16 * 16 * 8 * 3 * 9 + 80


def test_grouped_convolutions_cost_a_share(make_spec: MakeSpec) -> None:
    full, grouped = (nn.Sequential(nn.Conv2d(3, 6, 3, groups=groups, bias=False), nn.Flatten()) for groups in (1, 3))
    assert count_network(full, make_spec()).macs == 3 * count_network(grouped, make_spec()).macs


def test_attention_is_counted_also_where_the_encoder_is_one_fused_operator(make_spec: MakeSpec) -> None:
    L, d, m, p = 17, 48, 64, 8
    module = models.VisionTransformer(32, p, num_layers=1, num_heads=2, hidden_dim=d, mlp_dim=m, num_classes=10)
    by_hand = 16 * d * 3 * p * p + 4 * L * d * d + 2 * L * L * d + 2 * L * d * m + 10 * d
    assert count_network(module, make_spec(size=32)).macs == by_hand


@pytest.mark.parametrize(("family", "runs"), [("bert", 1), ("albert", 2)])
def test_a_text_network_is_counted_at_its_typical_length(family: str, runs: int, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    net, spec = make_text_network(family, tmp_path)
    L, h, m = LENGTH, HIDDEN, FEED_FORWARD
    layer = 4 * L * h * h + 2 * L * L * h + 2 * L * h * m
    factor = L * 8 * h if family == "albert" else 0
    assert count_network(net, spec).macs == factor + LAYERS * layer + h * h + 3 * h
    attention = next(name for name, count in count_own_macs(net, spec).items() if count == runs * 2 * L * L * h)
    assert attention.endswith("attention.self" if family == "bert" else "attention")
    longer = spec.model_copy(update={"signature": spec.signature.with_sizes(sequence=16)})
    more = 4 * 7 * h * h + 2 * (16 * 16 - L * L) * h + 2 * 7 * h * m
    assert count_network(net, longer).macs - count_network(net, spec).macs == LAYERS * more + factor // L * 7


def test_a_part_of_a_parameter_as_input_of_a_layer_is_counted(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    net, spec = make_text_network("deberta", tmp_path)
    assert count_network(net, spec).macs > 0
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_shared_weights_are_counted_once(make_spec: MakeSpec) -> None:
    layer = nn.Linear(12, 12, bias=False)
    module = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), layer, layer)
    found = count_network(module, make_spec(size=8))
    assert (found.parameters, found.macs) == (144, 288)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training: bool, make_spec: MakeSpec) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train(training)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    fast = torch.backends.mha.get_fastpath_enabled()
    count_network(module, make_spec())
    assert module.training is module[1].training is training
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled() is fast


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
@pytest.mark.parametrize(("layers", "directions"), [(1, 1), (2, 2)])
def test_recurrences_cost_their_products_at_every_step(
    kind: type[nn.RNNBase], gates: int, layers: int, directions: int, make_spec: MakeSpec
) -> None:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = kind(24, 16, num_layers=layers, bidirectional=directions == 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(x.permute(0, 3, 1, 2).flatten(2))[0][:, -1]

    inputs = 24 + (layers - 1) * directions * 16
    by_hand = 8 * directions * gates * 16 * (inputs + layers * 16)
    assert count_network(Rows(), make_spec(size=8)).macs == by_hand
