"""Every schedule and every training before it, through the stage: what it promises, and the same bits after an interruption."""

from dataclasses import replace

import pytest
import torch

from compress.core.sentences import render
from compress.prune import run_stage as steps
from compress.prune import setup
from compress.prune.sparse_training import pretraining as start
from compress.prune.stage import Prune
from compress.prune.unstructured import dynamic_sparse_training as dynamic
from compress.prune.unstructured.weights import count_zeros, prunable
from compress.train.checkpoints import network_hash
from tests.prune.conftest import CHANNEL, WAYS, WEIGHT


def _same(item, other):
    a, b = item.candidate.network().state_dict(), other.candidate.network().state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(value, b[name]) for name, value in a.items())
    assert item.tables == other.tables


@pytest.mark.parametrize("fields", WAYS.values(), ids=WAYS)
def test_an_interrupted_run_continues_to_the_same_bits(fields, candidate, context, tmp_path, monkeypatch):
    stage = Prune(**fields)
    whole = stage.run(candidate, context)
    other = replace(context, folder=tmp_path / "other")
    real = steps.finetune

    def falls_over(*args, **kwargs):
        real(*args, **kwargs)
        raise KeyboardInterrupt  # trained, and nothing of it written down by the stage

    monkeypatch.setattr(steps, "finetune", falls_over)
    with pytest.raises(KeyboardInterrupt):
        stage.run(candidate, other)
    monkeypatch.setattr(steps, "finetune", real)
    torch.rand(17)
    _same(whole, stage.run(candidate, other))


@pytest.mark.parametrize("kind", ["set", "rigl"])
def test_a_sparse_training_continues_in_the_middle_with_its_masks(kind, candidate, context, tmp_path, monkeypatch):
    stage = Prune(**WAYS[kind])
    whole = stage.run(candidate, context)
    other = replace(context, folder=tmp_path / "other")
    real, calls = dynamic.DropGrow.__call__, []

    def falls_over(self):
        calls.append(self.t)
        if len(calls) == 4:
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(dynamic.DropGrow, "__call__", falls_over)
    with pytest.raises(KeyboardInterrupt):
        stage.run(candidate, other)
    again = stage.run(candidate, other)
    assert calls == [0, 1, 2, 3, 2, 3]  # two steps an epoch: the second epoch again, from the checkpoint
    _same(whole, again)


def test_a_growing_penalty_continues_where_it_was(candidate, context, tmp_path, monkeypatch):
    stage = Prune(**WAYS["greg1"])
    whole = stage.run(candidate, context)
    real, calls = start.GrowingPenalty.__call__, []

    def falls_over(self):
        calls.append(self.t)
        if len(calls) == 4:
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(start.GrowingPenalty, "__call__", falls_over)
    other = replace(context, folder=tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        stage.run(candidate, other)
    again = stage.run(candidate, other)
    assert calls == [0, 1, 2, 3, 2, 3]
    _same(whole, again)


def test_a_step_over_the_cliff_is_undone_and_the_best_is_kept(candidate, context, monkeypatch):
    def accuracy(module, _):
        counted = count_zeros(module).values()
        return 0.9 if sum(z for z, _ in counted) <= 0.5 * sum(n for _, n in counted) else 0.6

    monkeypatch.setattr(steps, "validation_metric", accuracy)
    fields = {
        **WEIGHT,
        "target": {"sparsity": 0.8},
        "schedule": {"kind": "accuracy_aware", "steps": 4, "drop": 0.1, "retries": 2},
    }
    outcome = Prune(**fields).run(candidate, context)
    rows = outcome.tables["pruning_steps"]
    assert [row["removed"] for row in rows] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.5, 0.55])
    assert [row["kept"] for row in rows] == [True, True, True, False, True, False]
    assert outcome.curves["accuracy over pruning steps"].x == (0.0, 1.0, 2.0, 4.0)
    for layer in outcome.tables["layers"]:  # an undone step removes nothing
        after = layer["gone_after_each_step"]
        assert (after[2], after[4]) == (after[1], after[3])
    assert outcome.results["sparsity"].value == pytest.approx(0.5, abs=1e-3)
    (cliff,) = outcome.warnings
    assert cliff.code == "prune.accuracy_cliff"
    assert cliff.values == pytest.approx({"removed": 0.55, "lost": 0.3, "allowed": 0.1, "retained": 0.5, "asked": 0.8})
    assert "cliff of the metric: removing 0.5500 lost 0.3000, more than the allowed 0.1000" in render(cliff)
    assert cliff in outcome.notes


def test_when_nothing_may_go_the_dense_network_is_kept(candidate, context, monkeypatch):
    monkeypatch.setattr(
        steps, "validation_metric", lambda module, _: 0.1 if any(z for z, _ in count_zeros(module).values()) else 0.9
    )
    outcome = Prune(**{**WEIGHT, "schedule": {"kind": "accuracy_aware", "steps": 1, "retries": 1}}).run(candidate, context)
    dense, product = candidate.network().state_dict(), outcome.candidate.network().state_dict()
    assert all(torch.equal(value, dense[name]) for name, value in product.items())
    assert [row["kept"] for row in outcome.tables["pruning_steps"]] == [True, False, False]


def test_sparse_training_ends_with_the_layers_budgets_of_the_cut_and_other_masks(candidate, context):
    outcome = Prune(**WAYS["rigl"]).run(candidate, context)
    product = outcome.candidate.network()
    still = Prune(**{**WAYS["rigl"], "schedule": {"kind": "one_shot"}})
    other = still.run(candidate, replace(context, folder=context.folder / "static")).candidate.network()
    budgets = count_zeros(other)
    assert sum(gone for gone, _ in budgets.values()) == round(0.7 * sum(n for _, n in budgets.values()))
    for name, (zero, n) in count_zeros(product).items():
        gone = budgets[name][0]
        assert gone <= zero <= gone + 0.3 * (n - gone)  # a grown one that gets no gradient is still zero
    assert any(not torch.equal(p == 0, prunable(other)[name] == 0) for name, p in prunable(product).items())
    assert "step-1 connections exchanged" in outcome.curves


def test_layer_times_are_measured_once_and_decide_the_same_after_an_interruption(candidate, context, monkeypatch):
    calls = []

    def measured(module, *_):
        calls.append(1)
        return {"depth.0": 3.0 + len(calls), "stem.0": 1.0}

    monkeypatch.setattr(setup, "layer_times", measured)
    stage = Prune(**{**CHANNEL, "importance": "taylor", "cost_aware": "latency"})
    real = steps.finetune
    monkeypatch.setattr(steps, "finetune", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        stage.run(candidate, context)
    monkeypatch.setattr(steps, "finetune", real)
    stage.run(candidate, context)
    assert calls == [1]


@pytest.mark.parametrize("fields", WAYS.values(), ids=WAYS)
def test_frozen_weights_stay_and_the_given_network_is_as_before(fields, candidate, context):
    net = candidate.network()
    name, frozen = next(iter(net.named_parameters()))
    frozen.requires_grad_(False)
    net.register_forward_hook(lambda *_: None)
    before, random_state = network_hash(net), torch.get_rng_state()
    layer = name.rpartition(".")[0]
    result = Prune(**{**fields, "protect": (layer,)}).run(candidate, context).candidate.network()
    assert network_hash(net) == before
    assert not any(part.training for part in net.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.equal(result.get_parameter(name), frozen)
    assert [n for n, parameter in result.named_parameters() if not parameter.requires_grad] == [name]
