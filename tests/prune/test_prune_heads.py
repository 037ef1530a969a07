import copy

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.swin_transformer import SwinTransformer, SwinTransformerBlockV2

from compress.errors import ModelError
from compress.models.checkpoint import load, save
from compress.models.counts import count
from compress.prune import heads
from compress.prune.channel import Channels
from compress.prune.cut import Limits
from compress.prune.importance import bn_scale, magnitude, random

SIZE = 32


def _vit():
    extra = {"image_size": SIZE, "patch_size": 8, "num_layers": 2, "num_heads": 4, "hidden_dim": 32, "mlp_dim": 64}
    return torchvision.models.VisionTransformer(num_classes=4, **extra)


def _swin(version=1):
    extra = {"block": SwinTransformerBlockV2} if version == 2 else {}
    return SwinTransformer(
        patch_size=[4, 4], embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4], num_classes=4, **extra
    )


NETWORKS = {"vit": _vit, "swin": _swin, "swin_v2": lambda: _swin(2)}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    net = NETWORKS[request.param]().eval()
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    return net


@pytest.fixture
def large(spec):
    return spec.model_copy(update={"height": SIZE, "width": SIZE})


def _mute(net, name, head):
    part = net.get_submodule(name)
    weight = part.out_proj.weight if isinstance(part, nn.MultiheadAttention) else part.proj.weight
    width = weight.shape[1] // part.num_heads
    with torch.no_grad():
        weight[:, head * width : (head + 1) * width] = 0


def test_removing_heads_is_muting_them(network, large):
    muted, small = copy.deepcopy(network).double(), copy.deepcopy(network).double()
    for name, number in heads.counts(network).items():
        gone = [0, number - 1] if number > 2 else [1]
        for head in gone:
            _mute(muted, name, head)
        heads.remove(small, name, gone)
        assert heads.counts_of(small, [name])[name] == number - len(gone)
    x = torch.randn(3, *large.shape, dtype=torch.float64)
    assert torch.allclose(muted(x), small(x), atol=1e-12)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in network.parameters())


def test_a_network_with_fewer_heads_trains_and_comes_back_from_its_checkpoint(network, large, tmp_path):
    small = copy.deepcopy(network)
    for name in heads.counts(network):
        heads.remove(small, name, [0])
    save(small, network, tmp_path / "small.safetensors")
    again = load(tmp_path / "small.safetensors", network)
    x = torch.randn(2, *large.shape)
    with torch.no_grad():
        assert torch.equal(again(x), small(x))
    again.train()(x).square().mean().backward()
    assert all(p.grad is not None for p in again.parameters())


def test_half_of_the_macs_go_from_a_transformer(network, large):
    pruner = Channels(network, large, measure="macs", ranking="global", limits=Limits(round_to=4))
    cut = pruner.cut(network, 0.55, magnitude())
    assert count(cut.module, large).macs <= 0.55 * count(network, large).macs
    assert cut.notes == ()
    left = heads.counts_of(cut.module, list(heads.counts(network)))
    assert min(left.values()) >= 1
    second = pruner.cut(cut.module, 0.45, random(1))
    assert count(second.module, large).macs < count(cut.module, large).macs


def test_the_weakest_head_goes_first(network, large):
    name, number = next(iter(heads.counts(network).items()))
    _mute(network, name, 1)
    scores = heads.scores(network, name, magnitude())
    assert scores.shape == (number,)
    assert int(scores.argmin()) == 1
    assert scores.mean() == pytest.approx(1.0, rel=1e-5)


def test_protected_heads_and_those_under_a_ceiling_stay_with_the_reason(large):
    torch.manual_seed(0)
    net = _vit().eval()
    names = list(heads.counts(net))
    limits = Limits(round_to=4, protect=(names[0],), ceilings={names[1]: 0.1})
    pruner = Channels(net, large, measure="macs", ranking="global", limits=limits)
    cut = pruner.cut(net, 0.8, magnitude())
    assert heads.counts(cut.module) == heads.counts(net)
    reasons = {skip.what: skip.reason for skip in pruner.skipped}
    assert reasons[f"{names[0]} (heads)"] == "protected"
    assert "max_ratio 0.1 leaves no smaller number" in reasons[f"{names[1]} (heads)"]


def test_an_importance_of_channels_alone_leaves_heads(large):
    torch.manual_seed(0)
    net = _vit().eval()
    assert heads.scores(net, next(iter(heads.counts(net))), bn_scale()) is None


def test_taking_all_heads_is_refused_and_padding_masks_are_not_ignored():
    net = nn.Sequential(nn.MultiheadAttention(8, 2, batch_first=True))
    with pytest.raises(ValueError, match="all would go"):
        heads.remove(net, "0", [0, 1])
    heads.remove(net, "0", [1])
    x = torch.randn(1, 3, 8)
    with pytest.raises(NotImplementedError, match="key_padding_mask"):
        net[0](x, x, x, key_padding_mask=torch.zeros(1, 3, dtype=torch.bool))


def test_a_network_with_nothing_left_to_prune_is_refused(large):
    net = _vit().eval()
    with pytest.raises(ModelError, match="no channel of this network may be pruned"):
        Channels(net, large, measure="macs", ranking="global", limits=Limits(protect=("*",)))
