"""Every schedule and every training before it, through the stage: what it promises, and the same bits after an interruption."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn

from compress.core.errors import ModelError, TrainingError
from compress.core.fact import Fact
from compress.core.registry import entries
from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.prune import loop as steps
from compress.prune import module_latency
from compress.prune.schedule_settings import Schedule
from compress.prune.sparse_training import pretraining as start
from compress.prune.stage import Prune
from compress.prune.unstructured import dynamic_sparse_training as dynamic
from compress.prune.unstructured.weights import count_zeros, prunable

QUICK = {"epochs": 2, "batch_size": 32, "lr": 0.01, "keep": "last", "teacher": "none"}
WEIGHT = {"granularity": "weight", "target": {"sparsity": 0.7}, "recover": QUICK, "timing_seconds": 0}
CHANNEL = {"target": {"params": 0.6}, "recover": QUICK, "schedule": {"kind": "one_shot"}, "timing_seconds": 0}
PICKING = {"pick_strength": 0.1, "pick_ceiling": 0.3}
BEFORE = {"epochs": 1, "batch_size": 32, "lr": 0.01, "keep": "last"}

WAYS = {
    "exponential": {**WEIGHT, "schedule": {"kind": "exponential", "steps": 2}},
    "accuracy_aware": {**WEIGHT, "schedule": {"kind": "accuracy_aware", "steps": 2, "drop": 0.9}},
    "lottery": {**WEIGHT, "schedule": {"kind": "lottery", "steps": 2, "rewind": 3}, "recover": {**QUICK, "teacher": "parent"}},
    "set": {**WEIGHT, "schedule": {"kind": "set", "update_every": 1}, "importance": "random", "ranking": "erk"},
    "rigl": {**WEIGHT, "schedule": {"kind": "rigl", "update_every": 1}, "importance": "random", "ranking": "erk"},
    "slimming": {**CHANNEL, "sparse_training": {**BEFORE, "kind": "slimming"}, "importance": "bn_scale"},
    "l1": {**WEIGHT, "sparse_training": {**BEFORE, "kind": "l1"}, "schedule": {"kind": "one_shot"}},
    "group_lasso": {**CHANNEL, "sparse_training": {**BEFORE, "kind": "group_lasso"}},
    "greg2": {**CHANNEL, "sparse_training": {**BEFORE, **PICKING, "kind": "greg2", "every": 1, "epochs": 2}},
    "greg1": {**CHANNEL, "sparse_training": {**BEFORE, "kind": "greg1", "every": 1, "epochs": 2}},
    "synflow": {**WEIGHT, "importance": "synflow", "schedule": {"kind": "one_shot"}},
    "grasp": {**WEIGHT, "importance": "grasp", "schedule": {"kind": "one_shot"}},
    "hessian": {**CHANNEL, "importance": "hessian", "batches": 1},
    "wanda": {**CHANNEL, "importance": "wanda"},
}


@pytest.fixture
def context(data, task, tmp_path):
    return Context(
        data=data,
        task=task,
        folder=tmp_path / "stage",
        cache=tmp_path / "cache",
        seed=3,
        device="cpu",
    )


@pytest.fixture
def candidate(residual, spec):
    return Candidate(spec=spec, module=residual)


def _same(one, other):
    a, b = one.candidate.network().state_dict(), other.candidate.network().state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(value, b[name]) for name, value in a.items())
    assert one.tables == other.tables


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
    assert outcome.results["sparsity"].value == pytest.approx(0.5, abs=1e-3)
    (cliff,) = outcome.warnings
    assert cliff.code == "prune.accuracy_cliff"
    assert cliff.values == pytest.approx({"removed": 0.55, "lost": 0.3, "allowed": 0.1, "retained": 0.5, "asked": 0.8})
    assert "accuracy cliff: removing 0.5500 lost 0.3000 where 0.1000 is allowed" in render(cliff)
    assert cliff in outcome.notes


def test_when_nothing_may_go_the_dense_network_is_kept(candidate, context, monkeypatch):
    monkeypatch.setattr(
        steps, "validation_metric", lambda module, _: 0.1 if any(z for z, _ in count_zeros(module).values()) else 0.9
    )
    outcome = Prune(**{**WEIGHT, "schedule": {"kind": "accuracy_aware", "steps": 1, "retries": 1}}).run(candidate, context)
    dense, made = candidate.network().state_dict(), outcome.candidate.network().state_dict()
    assert all(torch.equal(value, dense[name]) for name, value in made.items())
    assert [row["kept"] for row in outcome.tables["pruning_steps"]] == [True, False, False]


def test_a_ticket_is_its_masks_times_the_weights_of_the_step_to_rewind_to(candidate, context, monkeypatch):
    seen = []
    real = steps.finetune

    def watched(module, *args, **kwargs):
        seen.append({name: p.detach().clone() for name, p in module.named_parameters()})
        return real(module, *args, **kwargs)

    monkeypatch.setattr(steps, "finetune", watched)
    outcome = Prune(**WAYS["lottery"]).run(candidate, context)
    weights = load_file(context.folder / "rewind.safetensors")
    assert not torch.equal(weights["stem.0.weight"], candidate.network().state_dict()["stem.0.weight"])
    for k, started in enumerate(seen, start=1):
        masks = load_file(context.folder / f"masks-{k}.safetensors")
        for name, value in started.items():
            assert torch.equal(value, weights[name] * masks[name] if name in masks else weights[name])
    made = outcome.candidate.network()
    assert all(bool((p[~masks[name]] == 0).all()) for name, p in prunable(made).items())
    left = [1 - row["sparsity"] for row in outcome.tables["pruning_steps"]]
    assert left == pytest.approx([1, 0.3**0.5, 0.3], abs=1e-3)
    assert any(fact.code in ("prune.winning_ticket", "prune.no_winning_ticket") for fact in outcome.notes)


def test_rewinding_to_the_initialisation_needs_no_snapshot(candidate, context):
    fields = {**WEIGHT, "schedule": {"kind": "lottery", "steps": 1}, "recover": {**QUICK, "epochs": 1}}
    Prune(**fields).run(candidate, context)
    weights = load_file(context.folder / "rewind.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in candidate.network().state_dict().items())


def test_rewinding_to_a_step_that_never_came_is_refused(candidate, context):
    fields = {**WEIGHT, "schedule": {"kind": "lottery", "steps": 1, "rewind": 50}}
    with pytest.raises(TrainingError, match="takes 4 steps; set rewind to at most 4"):
        Prune(**fields).run(candidate, context)


def test_sparse_training_ends_with_the_layers_budgets_of_the_cut_and_other_masks(candidate, context):
    outcome = Prune(**WAYS["rigl"]).run(candidate, context)
    made = outcome.candidate.network()
    still = Prune(**{**WAYS["rigl"], "schedule": {"kind": "one_shot"}})
    other = still.run(candidate, replace(context, folder=context.folder / "static")).candidate.network()
    budgets = count_zeros(other)
    assert sum(gone for gone, _ in budgets.values()) == round(0.7 * sum(n for _, n in budgets.values()))
    for name, (zero, n) in count_zeros(made).items():
        gone = budgets[name][0]
        assert gone <= zero <= gone + 0.3 * (n - gone)  # a grown one that gets no gradient is still zero
    assert any(not torch.equal(p == 0, prunable(other)[name] == 0) for name, p in prunable(made).items())
    assert "step-1 connections exchanged" in outcome.curves


def test_slimming_shrinks_the_scales_before_the_first_cut(candidate, context):
    def scales(before):
        stage = Prune(**{**WAYS["slimming"], "sparse_training": before})
        prepared = steps.PruningSetup(stage, candidate, context, candidate.network())
        folder = context.folder / str(before["strength"])
        module = start.train_before_pruning(stage, replace(context, folder=folder), candidate.network(), prepared, None).module
        return sum(float(p.detach().abs().sum()) for name, p in module.named_parameters() if "1.weight" in name)

    weak, strong = (scales({**BEFORE, "kind": "slimming", "epochs": 3, "lr": 0.05, "strength": lam}) for lam in (1e-9, 1.0))
    assert strong < 0.98 * weak


def test_layer_times_are_measured_once_and_decide_the_same_after_an_interruption(candidate, context, monkeypatch):
    calls = []

    def measured(module, *_):
        calls.append(1)
        return {"depth.0": 3.0 + len(calls), "stem.0": 1.0}

    monkeypatch.setattr(module_latency, "layer_times", measured)
    stage = Prune(**{**CHANNEL, "importance": "taylor", "cost_aware": "latency"})
    real = steps.finetune
    monkeypatch.setattr(steps, "finetune", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        stage.run(candidate, context)
    monkeypatch.setattr(steps, "finetune", real)
    stage.run(candidate, context)
    assert calls == [1]


def test_groups_without_a_score_are_left_alone_and_named(spec, context):
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU()]
    net = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)).eval()
    outcome = Prune(**{**CHANNEL, "target": {"params": 0.8}, "importance": "bn_scale"}).run(Candidate(spec, net), context)
    assert outcome.candidate.network()[3].out_channels == 16
    assert outcome.candidate.network()[0].out_channels < 16
    fact = Fact.of("prune.unscored_channels", "bn_scale", layers=("3",))
    assert fact in outcome.notes
    assert render(fact) == "importance bn_scale says nothing of the channels of 3 (1), which were left alone"


def test_a_penalty_with_nothing_to_act_on_is_refused(spec, context):
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)).eval()
    with pytest.raises(ModelError, match="no unprotected batch norm"):
        Prune(**WAYS["group_lasso"] | {"sparse_training": {**BEFORE, "kind": "slimming"}}).run(Candidate(spec, net), context)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {**WEIGHT, "importance": "bn_scale"},
            "importance 'bn_scale' does not fit granularity 'weight', which takes magnitude",
        ),
        ({**CHANNEL, "importance": "synflow"}, "importance 'synflow' does not fit granularity 'channel'"),
        ({**CHANNEL, "schedule": {"kind": "rigl"}}, "with granularity 'channel' it cannot, use 'weight'"),
        ({**CHANNEL, "schedule": {"kind": "lottery"}}, "use 'weight' or 'block'"),
        ({**WEIGHT, "schedule": {"kind": "cubic", "drop": 0.1}}, "'cubic' has no drop, which belongs to 'accuracy_aware'"),
        (
            {**WEIGHT, "schedule": {"kind": "accuracy_aware", "update_every": 3}},
            "'accuracy_aware' has no update_every, which belongs to 'set' or 'rigl'",
        ),
        ({**WEIGHT, "schedule": {"kind": "rigl", "drop_fraction": 1.0}}, "less than 1"),
        ({**WEIGHT, "schedule": {"kind": "rigl"}, "recover": {**QUICK, "ema": 0.9}}, "leave it out with 'rigl'"),
        ({**WEIGHT, "schedule": {"kind": "set"}, "recover": {**QUICK, "epochs": 0}}, "is a way to train"),
        ({**WEIGHT, "sparse_training": {"kind": "slimming"}}, "use l1 or greg1"),
        ({**WEIGHT, "sparse_training": {"kind": "l1"}, "schedule": {"kind": "lottery"}}, "leave one of them out"),
        ({**CHANNEL, "sparse_training": {"kind": "slimming", "strength": 0}}, "greater than 0"),
        ({**CHANNEL, "sparse_training": {"kind": "slim"}}, "'slimming', 'l1', 'group_lasso', 'greg1' or 'greg2'"),
        ({**WEIGHT, "cost_aware": "latency"}, "leave it out or use 'channel'"),
        ({**CHANNEL, "importance": "magnitude", "cost_aware": "latency"}, "'magnitude' is none, use taylor, hessian, fisher"),
        ({**CHANNEL, "importance": "magic"}, "Input should be 'magnitude'"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_does(fields, told):
    with pytest.raises(ValidationError, match=told):
        Prune(**fields)


@pytest.mark.parametrize("kind", ["lottery", "set", "rigl", "accuracy_aware", "cubic"])
def test_smoke_is_one_step_of_the_same_kind(kind):
    small = Schedule(kind=kind, **({"rewind": 900} if kind == "lottery" else {})).smoke()
    assert (small.kind, small.count) == (kind, 1)
    assert (small.rewind, small.update_every) == ({"lottery": 1}.get(kind), {"set": 1, "rigl": 1}.get(kind))


def test_what_a_recipe_may_name_stands_in_the_method_table():
    rows = [row for family in ("importance", "schedule", "penalty") for row in entries(family)]
    assert rows
    assert all(callable(row.load()) for row in rows)
