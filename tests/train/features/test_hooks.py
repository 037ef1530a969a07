import pytest
import torch
from torch import nn

from compress.train.features.discover_layers import LayerCatalog
from compress.train.features.hooks import HookSpec, capture
from tests.train.features.networks import INPUTS, staged


def hooks(module):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_taps_read_outputs_and_inputs_and_leave_no_hooks():
    net = staged()
    with torch.no_grad(), capture(net, [HookSpec("stage0"), HookSpec("head", "input")]) as records:
        net(INPUTS)
        torch.testing.assert_close(records[HookSpec("stage0")], net.stage0(INPUTS))
        torch.testing.assert_close(records[HookSpec("head", "input")], net[:4](INPUTS))
    assert hooks(net) == 0


def test_hooks_are_removed_after_an_error():
    net = staged()
    with pytest.raises(RuntimeError), capture(net, [HookSpec("stage0"), HookSpec("head", "input")]):
        net(torch.zeros(2, 5, 8, 8))
    with pytest.raises(AttributeError), capture(net, [HookSpec("stage0"), HookSpec("nowhere")]):
        pass
    with pytest.raises(RuntimeError):
        LayerCatalog(net, torch.zeros(2, 5, 8, 8), "student")
    assert hooks(net) == 0


def test_what_a_later_layer_changes_in_place_is_read_as_it_was():
    net = staged()
    survey = LayerCatalog(net, INPUTS, "student")
    spot = survey.find("stage0.1", "maps")
    with torch.no_grad(), capture(net, [spot.hook]) as records:
        net(INPUTS)
        torch.testing.assert_close(records[spot.hook], net.stage0[1](net.stage0[0](INPUTS)))
    assert float(records[spot.hook].min()) < 0


def test_attention_is_read_from_torch_and_timm_and_the_network_is_as_before():
    timm = pytest.importorskip("timm.layers")
    for layer, call in (
        (nn.MultiheadAttention(8, 2, batch_first=True), lambda item, x: item(x, x, x, need_weights=False)[0]),
        (timm.Attention(8, 2), lambda item, x: item(x)),
    ):
        layer.eval()
        net, x = nn.ModuleDict({"a": layer}), torch.randn(3, 5, 8)
        with torch.no_grad():
            before = call(layer, x)
            with capture(net, [HookSpec("a", "attention")]) as records:
                during = call(layer, x)
            after = call(layer, x)
        result = records[HookSpec("a", "attention")]
        assert result.shape == (3, 2, 5, 5)
        torch.testing.assert_close(result.sum(-1), torch.ones(3, 2, 5))
        torch.testing.assert_close(before, during)
        assert torch.equal(before, after)
        assert hooks(net) == 0
