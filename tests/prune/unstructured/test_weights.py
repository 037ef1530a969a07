import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from compress.core.errors import ModelError
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude, random
from compress.prune.unstructured.keep_masks import keep_masks, max_removals
from compress.prune.unstructured.weights import (
    UnstructuredPruner,
    compressed_bytes,
    count_zeros,
    prunable,
)


def _cut(net, spec, fraction=0.8, measure="sparsity", ranking="global", importance=None, **limits):
    pruner = UnstructuredPruner(
        net, spec, measure=measure, ranking=ranking, limits=Constraints(**{"max_ratio": 0.99, **limits})
    )
    return pruner, pruner.prune(net, fraction, importance or magnitude())


def _sparsity(net):
    counted = count_zeros(net).values()
    return sum(zero for zero, _ in counted), sum(n for _, n in counted)


@pytest.mark.parametrize("ranking", ["global", "local"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.937])
def test_exactly_the_asked_number_of_weights_is_zero(residual, spec, ranking, fraction):
    _, cut = _cut(residual, spec, fraction, ranking=ranking)
    gone, n = _sparsity(cut.module)
    assert gone == round(fraction * n)


def test_global_ranking_removes_the_smallest_weights_of_the_whole_network(residual, spec):
    _, cut = _cut(residual, spec, 0.6)
    dense = np.concatenate([p.detach().numpy().ravel() for p in prunable(residual).values()])
    remaining = np.concatenate([p.detach().numpy().ravel() for p in prunable(cut.module).values()]) != 0
    edge = np.sort(np.abs(dense))[round(0.6 * dense.size)]
    assert np.array_equal(remaining, np.abs(dense) >= edge)


def test_a_params_target_counts_all_parameters(residual, spec):
    _, cut = _cut(residual, spec, 0.4, "params")
    total = sum(p.numel() for p in residual.parameters())
    assert _sparsity(cut.module)[0] == round(0.6 * total)


def test_biases_norms_and_the_dense_network_are_left_alone(residual, spec):
    before = {name: value.clone() for name, value in residual.state_dict().items()}
    _, cut = _cut(residual, spec)
    weights = prunable(residual)
    for name, value in cut.module.state_dict().items():
        assert torch.equal(residual.state_dict()[name], before[name])
        assert torch.equal(value, before[name]) == (name not in weights)


def test_protected_layers_stay_dense(residual, spec):
    pruner, cut = _cut(residual, spec, protect=("head",))
    assert count_zeros(cut.module)["head.weight"][0] == 0
    assert ("head.weight", "prune.protected") in {(fact.subject, fact.code) for fact in pruner.skipped}


def test_protecting_everything_is_refused(residual, spec):
    with pytest.raises(ModelError, match="protect less"):
        _cut(residual, spec, protect=("*",))


def test_masks_survive_optimizer_steps_with_momentum(residual, spec):
    _, cut = _cut(residual, spec)
    gone = {name: (p == 0).clone() for name, p in prunable(cut.module).items()}
    optimizer = torch.optim.SGD(cut.module.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        cut.module(torch.randn(4, *spec.shape)).square().mean().backward()
        optimizer.step()
        assert any((p[gone[name]] != 0).any() for name, p in prunable(cut.module).items())
        cut.after_step()
        assert all((p[gone[name]] == 0).all() for name, p in prunable(cut.module).items())


def test_a_second_cut_keeps_the_zeros_of_the_first_whatever_the_scores(residual, spec):
    _, first = _cut(residual, spec, 0.5)
    _, second = _cut(first.module, spec, 0.7, importance=random(3))
    for name, p in prunable(first.module).items():
        assert (prunable(second.module)[name][p == 0] == 0).all()
    gone, n = _sparsity(second.module)
    assert gone == round(0.7 * n)


def test_a_target_above_the_ceilings_is_told_and_the_best_is_kept(residual, spec):
    _, cut = _cut(residual, spec, 0.9, max_ratio=0.5)
    assert cut.notes[0].code == "prune.target_not_reached"
    assert cut.notes[0].values["max_ratio"] == 0.5
    assert all(zero == int(0.5 * n) for zero, n in count_zeros(cut.module).values())


def test_zeros_compress(residual, spec):
    _, cut = _cut(residual, spec, 0.9)
    assert compressed_bytes(cut.module) < 0.5 * compressed_bytes(residual)


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    fraction=st.floats(0.0, 1.0),
    max_ratio=st.floats(0.05, 0.95),
    ranking=st.sampled_from(["global", "local"]),
    levels=st.integers(1, 5),
)
def test_masks_respect_count_and_ceilings_even_with_ties(sizes, fraction, max_ratio, ranking, levels):
    generator = torch.Generator().manual_seed(sum(sizes))
    scores = {str(i): torch.randint(0, levels, (n,), generator=generator).float() for i, n in enumerate(sizes)}
    count = round(fraction * sum(sizes))
    masks = keep_masks(scores, count, ranking=ranking, max_ratio=max_ratio)
    gone = {name: int((~mask).sum()) for name, mask in masks.items()}
    ceiling = max_removals({str(i): n for i, n in enumerate(sizes)}, max_ratio)
    assert all(gone[name] <= ceiling[name] for name in gone)
    if ranking == "global":
        assert sum(gone.values()) == min(count, sum(ceiling.values()))
    else:
        assert all(abs(gone[str(i)] - min(count * n / sum(sizes), ceiling[str(i)])) <= 1 for i, n in enumerate(sizes))


def test_attention_projections_are_prunable():
    assert set(prunable(nn.MultiheadAttention(8, 2))) == {"in_proj_weight", "out_proj.weight"}


def test_a_shared_weight_is_pruned_and_counted_once_and_protected_by_any_of_its_layers():
    net = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3)))
    net[2].weight = net[0].weight
    assert set(prunable(net)) == {"0.weight", "1.weight"}
    assert set(prunable(net, frozenset({"2"}))) == {"1.weight"}
