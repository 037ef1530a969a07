import copy

import pytest
import torch
import torchvision

from compress.core.errors import ModelError
from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.models.checkpoint import load, save
from compress.models.count_macs import count_network
from compress.models.pruned_attention import is_skipped
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.stage import Prune
from compress.prune.structured.block_importance import BlockScoring, output_change
from compress.prune.structured.depth import BlockPruner, drop_block, removable_blocks
from tests.prune.structured.text_networks import make_text_network, padded

SIZE = 32

LIKE_BERT = ("roberta", "electra", "deberta")
"""Families whose layers are like those of BERT, for the slow run."""


@pytest.fixture
def large(spec):
    return spec.with_size(SIZE, SIZE)


def _network(name):
    torch.manual_seed(0)
    if name == "vit":
        extra = {"image_size": SIZE, "patch_size": 8, "num_layers": 3, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 64}
        return torchvision.models.VisionTransformer(num_classes=4, **extra).eval()
    return torchvision.models.get_model(name, num_classes=4).eval()


@pytest.fixture
def resnet():
    return _network("resnet18")


def _layers(net, spec, **limits):
    samples = torch.randn(4, *spec.shape, generator=torch.Generator().manual_seed(3))
    return BlockPruner(net, spec, scoring=BlockScoring((samples,)), measure="macs", limits=Constraints(**limits))


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("resnet18", {"layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"}),
        ("vit", {f"encoder.layers.encoder_layer_{i}" for i in range(3)}),
        ("squeezenet1_1", set()),
    ],
)
def test_removable_blocks_that_keep_shapes_are_found(name, blocks, large):
    assert set(removable_blocks(_network(name), large)) == blocks


def test_a_dropped_block_passes_its_input_on(resnet, large):
    small = copy.deepcopy(resnet)
    drop_block(small, "layer2.1")
    x = torch.randn(2, *large.shape)
    with torch.no_grad():
        expected = copy.deepcopy(resnet)
        expected.layer2 = expected.layer2[:1]
        assert torch.equal(small(x), expected(x))
    assert count_network(small, large) == count_network(expected, large)


def test_what_changes_the_outputs_least_goes_first_and_the_target_is_met(resnet, large):
    with torch.no_grad():
        for norm in (resnet.layer3[1].bn2,):
            norm.weight.zero_()
            norm.bias.zero_()
    before = copy.deepcopy(resnet.state_dict())
    pruner = _layers(resnet, large)
    result = output_change(resnet, pruner.prunable, pruner.scoring)
    assert result["layer3.1"] < 1e-6 < min(value for name, value in result.items() if name != "layer3.1")
    cut = pruner.prune(resnet, 0.95, magnitude())
    assert is_skipped(cut.module.layer3[1])
    assert count_network(cut.module, large).macs <= 0.95 * count_network(resnet, large).macs
    again = pruner.prune(cut.module, 0.6, magnitude())
    assert is_skipped(again.module.layer3[1])
    assert count_network(again.module, large).macs <= 0.6 * count_network(resnet, large).macs
    assert all(torch.equal(value, before[key]) for key, value in resnet.state_dict().items())


def test_a_target_out_of_reach_is_told_and_the_best_kept(resnet, large):
    cut = _layers(resnet, large, max_ratio=0.45).prune(resnet, 0.1, magnitude())
    assert sum(is_skipped(cut.module.get_submodule(name)) for name in removable_blocks(resnet, large)) == 2
    assert cut.notes[0].code == "prune.target_not_reached"
    assert cut.notes[0].values["granularity"] == "layer"
    assert "max_ratio 0.45 of the blocks" in render(cut.notes[0])


def test_it_comes_back_from_its_checkpoint(resnet, large, tmp_path):
    cut = _layers(resnet, large).prune(resnet, 0.7, magnitude())
    save(cut.module, resnet, tmp_path / "small.safetensors")
    x = torch.randn(2, *large.shape)
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "small.safetensors", resnet)(x), cut.module(x))


def test_networks_without_such_blocks_and_protected_ones_are_refused(resnet, large):
    with pytest.raises(ModelError, match="no residual block and no stack of transformer layers"):
        _layers(_network("squeezenet1_1"), large)
    with pytest.raises(ModelError, match="all its blocks are protected"):
        _layers(resnet, large, protect=("layer*",))


class Deep(torch.nn.Module):
    """Three residual blocks at one width."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(3))
        self.head = torch.nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return x + self.conv(x).relu()


def test_a_recipe_drops_blocks_and_the_record_names_them(spec, data, task, tmp_path):
    torch.manual_seed(0)
    candidate = Candidate(spec=spec, module=Deep().eval())
    context = Context(data=data, task=task, folder=tmp_path, cache=tmp_path / "cache", device="cpu")
    stage = Prune(granularity="layer", target={"macs": 0.7}, schedule={"steps": 2}, recover={"epochs": 1}, timing_seconds=0)
    outcome = stage.run(candidate, context)
    assert outcome.results["macs_ratio"].value <= 0.7
    dropped = [row["block"] for row in outcome.tables["layers"]]
    assert set(dropped) < {"blocks.0", "blocks.1", "blocks.2"}
    assert all(is_skipped(outcome.candidate.network().get_submodule(name)) for name in dropped)
    assert outcome.tables["layers"][0]["parameters"] == 8 * 8 * 9 + 8


def test_channels_of_a_network_with_dropped_blocks_are_pruned(spec, data, task, tmp_path):
    torch.manual_seed(0)
    net = Deep().eval()
    drop_block(net, "blocks.1")
    context = Context(data=data, task=task, folder=tmp_path, cache=tmp_path / "cache", device="cpu")
    stage = Prune(target={"macs": 0.7}, schedule={"kind": "one_shot"}, round_to=1, recover={"epochs": 0}, timing_seconds=0)
    outcome = stage.run(Candidate(spec=spec, module=net), context)
    assert outcome.results["macs_ratio"].value <= 0.7
    made = outcome.candidate.network()
    assert is_skipped(made.blocks[1])
    assert made.stem.out_channels < 8


class PostNorm(torch.nn.Module):
    """A layer as in BERT: the norm stands behind the sum, and the output is a tuple or a tensor."""

    def __init__(self, returns_tuple):
        super().__init__()
        self.returns_tuple = returns_tuple
        self.attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm, self.up, self.down = torch.nn.LayerNorm(16), torch.nn.Linear(16, 32), torch.nn.Linear(32, 16)
        self.last = torch.nn.LayerNorm(16)

    def forward(self, x, mask=None):
        x = self.norm(x + self.attention(x, x, x, attn_mask=mask, need_weights=False)[0])
        x = self.last(x + self.down(self.up(x).relu()))
        return (x,) if self.returns_tuple else x


class Encoder(torch.nn.Module):
    def __init__(self, returns_tuple):
        super().__init__()
        self.stem, self.head = torch.nn.Conv2d(3, 16, 4, stride=4), torch.nn.Linear(16, 4)
        self.layer = torch.nn.ModuleList(PostNorm(returns_tuple) for _ in range(4))

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        for layer in self.layer:
            x = layer(x, None)
            x = x[0] if isinstance(x, tuple) else x
        return self.head(x.mean(1))


@pytest.mark.parametrize("returns_tuple", [True, False])
def test_layers_of_a_transformer_with_the_norm_behind_the_sum_are_dropped(returns_tuple, large, tmp_path):
    torch.manual_seed(0)
    net = Encoder(returns_tuple).eval()
    assert removable_blocks(net, large) == tuple(f"layer.{index}" for index in range(4))
    pruned = _layers(net, large).prune(net, 0.6, magnitude()).module
    remaining = [index for index in range(4) if not is_skipped(pruned.layer[index])]
    assert 0 < len(remaining) < 4
    reference = copy.deepcopy(net)
    reference.layer = torch.nn.ModuleList(net.layer[index] for index in remaining)
    x = torch.randn(2, *large.shape)
    save(pruned, net, tmp_path / "small.safetensors")
    with torch.no_grad():
        assert torch.equal(pruned(x), reference(x))
        assert torch.equal(load(tmp_path / "small.safetensors", net)(x), reference(x))


def test_stacked_layers_without_attention_and_layers_that_run_twice_stay(large):
    class Repeated(Encoder):
        def forward(self, x):
            x = self.stem(x).flatten(2).transpose(1, 2)
            for layer in (self.layer[0], self.layer[0], self.layer[1]):
                x = layer(x)
            return self.head(x.mean(1))

    assert removable_blocks(Repeated(returns_tuple=False).eval(), large) == ()
    plain = [torch.nn.Sequential(torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU()) for _ in range(3)]
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 1), torch.nn.Sequential(*plain), torch.nn.Flatten(), torch.nn.LazyLinear(4)
    )
    net(torch.zeros(1, *large.shape))
    assert removable_blocks(net.eval(), large) == ()


@pytest.mark.parametrize(
    "family",
    ["bert", "distilbert", "mpnet", "deberta-v2", *(pytest.param(name, marks=pytest.mark.slow) for name in LIKE_BERT)],
)
def test_layers_of_text_networks_are_dropped_with_padding(family, tmp_path):
    pytest.importorskip("transformers")
    kept = {"n_layers": 3} if family == "distilbert" else {"num_hidden_layers": 3}
    net, spec = make_text_network(family, tmp_path, **kept)
    pruner = BlockPruner(net, spec, scoring=BlockScoring(padded(spec)), measure="macs", limits=Constraints())
    blocks = pruner.prunable
    assert len(blocks) == 3
    small = copy.deepcopy(net).double()
    reference = copy.deepcopy(small)
    owner, _, _ = blocks[0].rpartition(".")
    drop_block(small, blocks[1], entries=pruner.entries[blocks[1]])
    layers = reference.get_submodule(owner)
    del layers[1]
    x = padded(spec)
    save(small.float(), net, tmp_path / "small.safetensors")
    again = load(tmp_path / "small.safetensors", net).double()
    with torch.no_grad():
        assert torch.allclose(small.double()(*x), reference(*x), atol=1e-9)
        assert torch.equal(again(*x), small(*x))


def test_a_layer_that_runs_several_times_is_the_reason(tmp_path):
    pytest.importorskip("transformers")
    net, spec = make_text_network("albert", tmp_path)
    with pytest.raises(ModelError, match="runs 2 times, so that it cannot be dropped"):
        BlockPruner(net, spec, scoring=BlockScoring(padded(spec)), measure="macs", limits=Constraints())


@pytest.mark.parametrize("score", ["outputs", "influence", "search"])
def test_the_layer_that_changes_nothing_goes_first(score, tmp_path):
    pytest.importorskip("transformers")
    net, spec = make_text_network("bert", tmp_path, num_hidden_layers=3)
    layer = net.network.bert.encoder.layer[1]
    with torch.no_grad():
        for part in (layer.attention.output.dense, layer.output.dense):
            part.weight.mul_(1e-3)
            part.bias.zero_()
        for part in (net.network.bert.encoder.layer[0].output, layer.attention.output, layer.output):
            part.LayerNorm.weight.fill_(1.0)
            part.LayerNorm.bias.zero_()
    x = padded(spec)
    dense = net(*x).detach()

    def loss(module):
        return float((module(*x).detach() - dense).abs().mean())

    scoring = BlockScoring(x, score, mask=x[1], loss=loss)
    pruner = BlockPruner(net, spec, scoring=scoring, measure="macs", limits=Constraints())
    assert pruner.rows(pruner.prune(net, 0.9, magnitude()).module)[0]["block"] == "network.bert.encoder.layer.1"
