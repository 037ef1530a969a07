import pytest
import torch
from torch import nn

from compress.config.devices import load_device
from compress.core.errors import DeviceError
from compress.prune.structured.attention_heads import coupled_layers
from compress.prune.structured.layer_costs import layer_costs, layer_times
from compress.prune.structured.select_channels import CostLedger, GroupChoice, LayerCost
from tests.prune.structured.text_networks import HEADS, HIDDEN, LENGTH, make_text_network


@pytest.mark.parametrize("device", ["host", "mobile_cpu"])
def test_every_convolution_has_a_time_measured_or_estimated(device, residual, spec):
    times = layer_times(residual, spec, load_device(device), seconds=0.05)
    convolutions = {name for name, part in residual.named_modules() if isinstance(part, nn.Conv2d)}
    assert convolutions <= set(times)
    assert min(times.values()) > 0


def test_a_network_without_times_is_refused(spec):
    class Bare(nn.Module):
        def forward(self, x):
            return x.mean((1, 2, 3))[:, None].expand(-1, 4)

    with pytest.raises(DeviceError, match="leave it out"):
        layer_times(Bare(), spec, load_device("mobile_cpu"))


def test_the_products_of_attention_and_the_embeddings_are_layers_too(tmp_path):
    pytest.importorskip("transformers")
    net, spec = make_text_network("bert", tmp_path)
    macs, parameters = (layer_costs(net, spec, measure) for measure in ("macs", "params"))
    products = "network.bert.encoder.layer.0.attention.self"
    assert macs[products] == LayerCost(2 * LENGTH * LENGTH * HIDDEN, HEADS, HEADS)
    assert parameters[products].cost == 0
    assert parameters["network.bert.embeddings.word_embeddings"] == LayerCost(40 * HIDDEN, HIDDEN, 40)
    removed = CostLedger(macs)
    choice = GroupChoice("", torch.ones(HEADS), HEADS, HEADS, (), coupled_layers(net, products.removesuffix(".self")))
    share = (4 * LENGTH * HIDDEN * HIDDEN + 2 * LENGTH * LENGTH * HIDDEN) / HEADS
    assert removed.remove(choice, 1) == pytest.approx(share, rel=0.02)  # the counter of layers adds their biases
