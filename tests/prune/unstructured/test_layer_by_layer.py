import copy
import gc
import weakref

import pytest
import torch
from torch import nn

from compress.core.network_spec import image_spec
from compress.core.sentences import render
from compress.data.batch import Batch
from compress.prune.base import Constraints
from compress.prune.criteria import ScoringData, magnitude, sparsegpt, wanda
from compress.prune.unstructured import layer_by_layer
from compress.prune.unstructured.layer_by_layer import from_matrix, prune_layer_by_layer, to_matrix
from compress.prune.unstructured.n_m import NMPruner
from compress.prune.unstructured.solvers import Removal, solve_sparsegpt, solve_wanda
from compress.prune.unstructured.weights import UnstructuredPruner, count_zeros, prunable
from compress.tasks.classification import Classification
from tests.prune.structured.decoder_networks import TASK, make_decoder
from tests.tasks.text.text_arrays import Arrays, tokens


class Images(nn.Module):
    """Convolutions, one of them grouped, and a classifier."""

    def __init__(self):
        super().__init__()
        self.first, self.grouped = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.second, self.head = nn.Conv2d(8, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.second(self.grouped(self.first(x).relu()).relu()).relu().mean((2, 3)))


def _image_data(count=3):
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randn(8, 3, 12, 12, generator=generator) for _ in range(count)]
    return ScoringData([Batch.of(x, torch.zeros(8, dtype=torch.int64)) for x in draws], Classification())


def _text_data(size=12):
    inputs = tokens(size, 0)
    return ScoringData(tuple(Arrays(inputs, {"target": inputs["input_ids"]}).epoch(0, 4, 0)), TASK)


def _removals(net, fraction=0.5):
    return dict.fromkeys(prunable(net), Removal(fraction))


def _reference(net, data, names, solve):
    """The same by whole runs of the network for each layer of `names`, which are in the order of their calls."""
    for group in names:
        inputs = {name: [] for name in group}
        handles = [
            net.get_submodule(name).register_forward_pre_hook(lambda _, x, rows=inputs[name]: rows.append(x[0]))
            for name in group
        ]
        for batch in data.batches:
            data.task.forward(net, batch.inputs)
        for handle in handles:
            handle.remove()
        mask = torch.cat([batch.inputs["attention_mask"].flatten() for batch in data.batches]).bool()
        for name in group:
            rows = torch.cat([x.flatten(0, -2) for x in inputs[name]])[mask]
            weight = net.get_submodule(name).weight
            weight.copy_(solve(weight.detach(), rows.T @ rows / len(rows), Removal(0.5))[0])


@pytest.mark.parametrize("solve", [solve_sparsegpt, solve_wanda])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_each_block_of_a_decoder_is_pruned_from_its_inputs_behind_the_pruned_blocks(kind, solve):
    pytest.importorskip("transformers")
    net, _ = make_decoder(kind)
    data, found, expected = _text_data(), copy.deepcopy(net), copy.deepcopy(net)
    masks, by_magnitude = prune_layer_by_layer(found, _removals(net), solve, data)
    assert by_magnitude == ()
    assert masks.keys() == prunable(net).keys()
    blocks = [[key.removesuffix(".weight") for key in masks if f".{index}." in key] for index in range(2)]
    assert not any("head" in name for names in blocks for name in names)
    with torch.no_grad():
        _reference(expected, data, blocks, solve)
    for key, mask in masks.items():
        assert torch.allclose(
            found.get_parameter(key), expected.get_parameter(key), atol=1e-3
        )  # the solution amplifies float32 rounding
        assert not found.get_parameter(key)[~mask].any()
        assert int((~mask).sum()) == mask.numel() // 2


def test_only_the_moments_of_one_block_are_held(monkeypatch):
    pytest.importorskip("transformers")
    net, _ = make_decoder("llama", num_hidden_layers=4)
    alive, most = weakref.WeakSet(), []
    original = layer_by_layer.InputMoments.__init__

    def count(self, *args, **kwargs):
        original(self, *args, **kwargs)
        alive.add(self)
        gc.collect()
        most.append(len(alive))

    monkeypatch.setattr(layer_by_layer.InputMoments, "__init__", count)
    gc.freeze()  # what other tests left need not be looked at each time
    prune_layer_by_layer(net, _removals(net), solve_wanda, _text_data())
    gc.unfreeze()
    assert len(most) == 4 * 4  # one for queries, keys and values; attention's output; gate and up; down
    assert max(most) <= 8  # those of a block, and of the block before while its last names live


def test_convolutions_are_matrices_of_patches_and_grouped_ones_go_by_magnitude():
    net, data = Images().eval(), _image_data()
    found = copy.deepcopy(net)
    masks, by_magnitude = prune_layer_by_layer(found, _removals(net), solve_wanda, data)
    assert by_magnitude == ("grouped",)
    assert all(abs(int(mask.sum()) / mask.numel() - 0.5) < 0.02 for mask in masks.values())
    x = torch.cat([batch.input for batch in data.batches])
    patches = nn.functional.unfold(x, 3, padding=1, stride=2).unflatten(1, (3, 9)).transpose(1, 2).flatten(1, 2)
    scores = to_matrix(net.first).abs() * patches.square().mean((0, 2)).sqrt()
    lowest = from_matrix(
        net.first, torch.zeros_like(scores, dtype=torch.bool).scatter(1, scores.argsort(1)[:, :14], value=True)
    )
    assert masks["first.weight"].equal(~lowest)
    assert from_matrix(net.first, to_matrix(net.first)).equal(net.first.weight)


def test_the_pruners_reach_their_targets_and_say_what_went_by_magnitude():
    spec = image_spec(channels=3, height=12, width=12, mean=(0.0,) * 3, std=(1.0,) * 3, classes=tuple("abcd"))
    net, data = Images().eval(), _image_data()
    for importance, ranking in ((sparsegpt(), "local"), (sparsegpt(), "erk"), (wanda(), "row")):
        importance.collect(net, data)
        pruner = UnstructuredPruner(net, spec, measure="sparsity", ranking=ranking, limits=Constraints(max_ratio=0.99))
        cut = pruner.prune(net, 0.6, importance)
        zeros = count_zeros(cut.module).values()
        assert sum(zero for zero, _ in zeros) / sum(n for _, n in zeros) == pytest.approx(0.6, abs=0.02)
        assert "grouped" in render(cut.notes[0])
    importance = sparsegpt()
    importance.collect(net, data)
    cut = NMPruner(net, spec, limits=Constraints(max_ratio=1.0)).prune(net, 0.5, importance)
    weight = cut.module.second.weight
    assert (weight.movedim(1, -1).reshape(8, -1, 4) != 0).sum(2).eq(2).all()
    dense = NMPruner(net, spec, limits=Constraints(max_ratio=1.0)).prune(net, 0.5, magnitude())
    assert not torch.equal(dense.module.second.weight, weight)
    before = weight.clone()
    cut.after_step()
    assert before.equal(weight)
