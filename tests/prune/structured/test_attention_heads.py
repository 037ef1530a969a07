import copy
import importlib
import inspect

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.maxvit import MaxVit
from torchvision.models.swin_transformer import SwinTransformer, SwinTransformerBlockV2

from compress.core.errors import ModelError
from compress.core.sentences import render, render_subject
from compress.models.checkpoint import load, save
from compress.models.count_macs import count_network
from compress.prune.base import Constraints
from compress.prune.criteria import bn_scale, magnitude, random
from compress.prune.structured import attention_heads as heads
from compress.prune.structured.channels import ChannelPruner

SIZE = 32


def _vit():
    extra = {"image_size": SIZE, "patch_size": 8, "num_layers": 2, "num_heads": 4, "hidden_dim": 32, "mlp_dim": 64}
    return torchvision.models.VisionTransformer(num_classes=4, **extra)


def _swin(version=1):
    extra = {"block": SwinTransformerBlockV2} if version == 2 else {}
    return SwinTransformer(
        patch_size=[4, 4], embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4], num_classes=4, **extra
    )


def _maxvit():
    extra = {"stem_channels": 8, "block_channels": [16, 32], "block_layers": [1, 1], "head_dim": 8}
    return MaxVit(input_size=(SIZE, SIZE), partition_size=4, num_classes=4, stochastic_depth_prob=0.0, **extra)


def _timm():
    extra = {"img_size": SIZE, "patch_size": 8, "depth": 2, "num_heads": 4, "embed_dim": 32, "mlp_ratio": 2.0}
    vit: nn.Module = pytest.importorskip("timm.models.vision_transformer").VisionTransformer(num_classes=4, **extra)
    return vit


NETWORKS = {"vit": _vit, "swin": _swin, "swin_v2": lambda: _swin(2), "maxvit": _maxvit, "timm": _timm}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    net = NETWORKS[request.param]().eval()
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    return net


@pytest.fixture
def large(spec):
    return spec.with_size(SIZE, SIZE)


def _mute(net, name, head):
    part = net.get_submodule(name)
    weight = next(getattr(part, key).weight for key in ("out_proj", "proj", "merge") if hasattr(part, key))
    width = weight.shape[1] // (part.n_heads if hasattr(part, "n_heads") else part.num_heads)
    with torch.no_grad():
        weight[:, head * width : (head + 1) * width] = 0


def test_removing_heads_is_muting_them(network, large):
    muted, small = copy.deepcopy(network).double(), copy.deepcopy(network).double()
    for name, number in heads.count_heads(network).items():
        gone = [0, number - 1] if number > 2 else [1]
        for head in gone:
            _mute(muted, name, head)
        heads.remove_heads(small, name, gone)
        assert heads.count_heads_of(small, [name])[name] == number - len(gone)
    x = torch.randn(3, *large.shape, dtype=torch.float64)
    assert torch.allclose(muted(x), small(x), atol=1e-12)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in network.parameters())


def test_a_network_with_fewer_heads_trains_and_comes_back_from_its_checkpoint(network, large, tmp_path):
    small = copy.deepcopy(network)
    for name in heads.count_heads(network):
        heads.remove_heads(small, name, [0])
    save(small, network, tmp_path / "small.safetensors")
    again = load(tmp_path / "small.safetensors", network)
    x = torch.randn(2, *large.shape)
    with torch.no_grad():
        assert torch.equal(again(x), small(x))
    again.train()(x).square().mean().backward()
    assert all(p.grad is not None for p in again.parameters())


def test_half_of_the_macs_go_from_a_transformer(network, large):
    pruner = ChannelPruner(network, large, measure="macs", ranking="global", limits=Constraints(round_to=4))
    cut = pruner.prune(network, 0.55, magnitude())
    assert count_network(cut.module, large).macs <= 0.55 * count_network(network, large).macs
    assert cut.notes == ()
    left = heads.count_heads_of(cut.module, list(heads.count_heads(network)))
    assert min(left.values()) >= 1
    second = pruner.prune(cut.module, 0.45, random(1))
    assert count_network(second.module, large).macs < count_network(cut.module, large).macs


def test_the_weakest_head_goes_first(network, large):
    name, number = next(iter(heads.count_heads(network).items()))
    _mute(network, name, 1)
    scores = heads.head_scores(network, name, magnitude())
    assert scores.shape == (number,)
    assert int(scores.argmin()) == 1
    assert scores.mean() == pytest.approx(1.0, rel=1e-5)


def test_protected_heads_and_those_under_a_ceiling_stay_with_the_reason(large):
    torch.manual_seed(0)
    net = _vit().eval()
    names = list(heads.count_heads(net))
    limits = Constraints(round_to=4, protect=(names[0],), ceilings={names[1]: 0.1})
    pruner = ChannelPruner(net, large, measure="macs", ranking="global", limits=limits)
    cut = pruner.prune(net, 0.8, magnitude())
    assert heads.count_heads(cut.module) == heads.count_heads(net)
    reasons = {render_subject(fact): fact for fact in pruner.skipped}
    assert reasons[f"{names[0]} (heads)"].code == "prune.heads_protected"
    assert "max_ratio 0.1 allows no smaller number" in render(reasons[f"{names[1]} (heads)"])


def test_an_importance_of_channels_alone_leaves_heads(large):
    torch.manual_seed(0)
    net = _vit().eval()
    assert heads.head_scores(net, next(iter(heads.count_heads(net))), bn_scale()) is None


def test_taking_all_heads_is_refused():
    net = nn.Sequential(nn.MultiheadAttention(8, 2, batch_first=True))
    with pytest.raises(ValueError, match="all would be removed"):
        heads.remove_heads(net, "0", [0, 1])


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_masks_of_torch_hold_with_fewer_heads(kind):
    torch.manual_seed(0)
    muted = nn.Sequential(nn.MultiheadAttention(8, 2, batch_first=True)).eval()
    _mute(muted, "0", 1)
    small = copy.deepcopy(muted)
    heads.remove_heads(small, "0", [1])
    x = torch.randn(2, 5, 8)
    padding, causal = torch.tensor([[False] * 5, [False] * 3 + [True] * 2]), torch.ones(5, 5, dtype=torch.bool).triu(1)
    if kind == "float":
        padding, causal = (torch.zeros(mask.shape).masked_fill(mask, -1e9) for mask in (padding, causal))
    masks = ({"key_padding_mask": padding}, {"attn_mask": causal}, {"key_padding_mask": padding, "attn_mask": causal})
    for given in masks:
        expected, _ = muted[0](x, x, x, need_weights=False, **given)
        assert torch.allclose(small[0](x, x, x, need_weights=False, **given)[0], expected, atol=1e-6)


def test_a_network_with_nothing_left_to_prune_is_refused(large):
    net = _vit().eval()
    with pytest.raises(ModelError, match="no channel of this network can be pruned"):
        ChannelPruner(net, large, measure="macs", ranking="global", limits=Constraints(protect=("*",)))


class Encoder(nn.Module):
    """An encoder of Hugging Face behind patches, with a head: (N, 3, H, W) → (N, 4)."""

    def __init__(self, layers):
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, 8)
        self.layers = layers
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        for layer in self.layers:
            x = layer(x, attention_mask=None) if "attention_mask" in inspect.signature(layer.forward).parameters else layer(x)
            x = x[0] if isinstance(x, tuple) else x
        return self.head(self.norm(x).mean(1))


HUGGING = {
    "bert": ("bert", "BertConfig", "BertLayer", {}),
    "roberta": ("roberta", "RobertaConfig", "RobertaLayer", {}),
    "vit": ("vit", "ViTConfig", "ViTLayer", {}),
    "clip": ("clip", "CLIPVisionConfig", "CLIPEncoderLayer", {}),
    "siglip": ("siglip", "SiglipVisionConfig", "SiglipEncoderLayer", {}),
    "dinov2": ("dinov2", "Dinov2Config", "Dinov2Layer", {"mlp_ratio": 2}),
    "deit": ("deit", "DeiTConfig", "DeiTLayer", {}),
    "beit": ("beit", "BeitConfig", "BeitLayer", {}),
}


@pytest.fixture(params=HUGGING)
def hugging(request):
    pytest.importorskip("transformers")
    name, config, layer, more = HUGGING[request.param]
    code = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
    settings = getattr(importlib.import_module(f"transformers.models.{name}.configuration_{name}"), config)(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, **more
    )
    settings._attn_implementation = "sdpa"
    torch.manual_seed(0)
    net = Encoder(nn.ModuleList([getattr(code, layer)(settings) for _ in range(2)])).eval()
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    return net


def test_encoders_of_hugging_face_lose_heads_and_feed_forward_columns(hugging, large, tmp_path):
    pruner = ChannelPruner(
        hugging, large, measure="macs", ranking="global", limits=Constraints(round_to=4, protect=("patches",))
    )
    cut = pruner.prune(hugging, 0.5, magnitude())
    assert count_network(cut.module, large).macs <= 0.5 * count_network(hugging, large).macs
    assert cut.notes == ()
    assert len(heads.count_heads(hugging)) == 2
    assert sum(heads.count_heads_of(cut.module, list(heads.count_heads(hugging))).values()) < 8
    columns = [part.out_features for name, part in cut.module.named_modules() if name.endswith(("intermediate.dense", "fc1"))]
    assert len(columns) == 2
    assert min(columns) < 64
    save(cut.module, hugging, tmp_path / "small.safetensors")
    x = torch.randn(2, *large.shape)
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "small.safetensors", hugging)(x), cut.module(x))
